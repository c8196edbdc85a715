//! scratch
use ottla::*;
#[test]
fn smoke() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = Log::open(
        &path,
        LogConfig::default()
            .segment_bytes(4096)
            .index_interval_bytes(512),
    )
    .unwrap();
    for i in 0..1000u32 {
        assert_eq!(log.append(&format!("value {i}")).unwrap(), u64::from(i));
    }
    assert!(matches!(
        Log::open(&path, LogConfig::default()),
        Err(Error::Locked { .. })
    ));
    let n = log
        .reader(0)
        .unwrap()
        .map(|r| r.unwrap())
        .enumerate()
        .map(|(i, r)| {
            assert_eq!(r.offset, i as u64);
            assert_eq!(r.value().unwrap(), format!("value {i}").as_bytes());
        })
        .count();
    assert_eq!(n, 1000);
    for i in [0u64, 1, 17, 500, 999] {
        assert_eq!(log.read(i).unwrap().unwrap().offset, i);
    }
    println!("{:?}", log.segments().len());
    log.flush().unwrap();
    log.truncate(700).unwrap();
    assert_eq!(log.end_offset(), 700);
    assert_eq!(log.append("x").unwrap(), 700);
    log.truncate_prefix(100).unwrap();
    assert!(matches!(log.read(5), Err(Error::OffsetOutOfRange { .. })));
    log.close().unwrap();
    for e in std::fs::read_dir(&path).unwrap() {
        let e = e.unwrap();
        println!("{:?} {}", e.file_name(), e.metadata().unwrap().len());
    }
    let log = Log::open(&path, LogConfig::default()).unwrap();
    println!("{:?}", log.open_report());
    assert_eq!(log.start_offset(), 100);
    assert_eq!(log.end_offset(), 701);
    assert_eq!(log.reader(100).unwrap().count(), 601);
    drop(log);
    let log = Log::open(&path, LogConfig::default()).unwrap();
    assert!(log.open_report().clean);
}
