//! See `ottla::__fuzz::log_ops`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ottla::__fuzz::log_ops(data));
