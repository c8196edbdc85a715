//! See `ottla::__fuzz::group_ops`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ottla::__fuzz::group_ops(data));
