//! See `ottla::__fuzz::open_dir`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ottla::__fuzz::open_dir(data));
