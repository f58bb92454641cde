#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bursar_tests::hostile::run("audit_export", data));
