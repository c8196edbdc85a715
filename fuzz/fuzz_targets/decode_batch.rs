//! See `ottla::__fuzz::decode_batch`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ottla::__fuzz::decode_batch(data));
