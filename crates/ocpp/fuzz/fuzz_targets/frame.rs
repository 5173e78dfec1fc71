//! Reads any bytes from a socket: nothing may panic, and every answer must be a frame.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ocpp::frame::{self, Frame};
use ocpp::{Version, check, timestamp, v2, v16};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for version in Version::ALL {
        match frame::parse(text, version) {
            Ok(Frame::Call(call)) => payload(version, &call.action, call.payload),
            Ok(Frame::Send(send)) => payload(version, &send.action, send.payload),
            Ok(Frame::CallResult(result)) => payload(version, "Heartbeat", result.payload),
            Ok(Frame::CallError(error) | Frame::CallResultError(error)) => {
                let again = frame::write_call_error(
                    &error.id,
                    &error.code,
                    &error.description,
                    error.details,
                );
                assert!(frame::parse(&again, version).is_ok());
            }
            Err(error) => {
                if let Some(answer) = error.answer(version) {
                    assert!(frame::parse(&answer, version).is_ok());
                }
                payload(
                    version,
                    error.action.as_deref().unwrap_or_default(),
                    error.rest,
                );
            }
        }
    }
    let _ = timestamp::read(text);
});

fn payload(version: Version, action: &str, text: &str) {
    let _ = check::request(version, action, text);
    let _ = check::response(version, action, text);
    let _ = v16::StartTransaction::read(text);
    let _ = v16::StopTransaction::read(text);
    let _ = v16::MeterValues::read(text);
    let _ = v2::TransactionEvent::read(text);
    let _ = v2::NotifyEvent::read(text);
}
