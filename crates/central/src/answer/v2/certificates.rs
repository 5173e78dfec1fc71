//! Certificates: until there is a certificate authority behind us, each question is answered with
//! the failure that the standard foresees in a CALLRESULT (ocpp-rules 2.4), never with CALLERROR.

use crate::answer::{Decision, Scene};
use ocpp::json::Raw;

pub(crate) fn get_15118_ev_certificate(_: &Scene<'_>) -> Decision {
    Decision::Answer(r#"{"status":"Failed","exiResponse":""}"#.into())
}

pub(crate) fn get_certificate_status(_: &Scene<'_>) -> Decision {
    Decision::Answer(r#"{"status":"Failed"}"#.into())
}

/// One status per certificate that is asked for, naming it as the charger did.
pub(crate) fn get_certificate_chain_status(scene: &Scene<'_>) -> Decision {
    /// As many as the schema allows.
    const CERTIFICATES_MAX: usize = 4;
    let mut asked = Vec::new();
    let _ = Raw::new(scene.payload).members(|name, value| {
        if name == "certificateStatusRequests" {
            let _ = value.items(|item| {
                let mut source = "OCSP".to_owned();
                let mut hash_data = "{}";
                let _ = item.members(|name, value| match name {
                    "source" if value.text().as_deref() == Some("CRL") => "CRL".clone_into(&mut source),
                    "certificateHashData" => hash_data = value.as_str(),
                    _ => {}
                });
                asked.push(format!(
                    r#"{{"certificateHashData":{hash_data},"source":"{source}","status":"Failed","nextUpdate":"{}"}}"#,
                    scene.now
                ));
            });
        }
    });
    asked.truncate(CERTIFICATES_MAX);
    Decision::Answer(format!(r#"{{"certificateStatus":[{}]}}"#, asked.join(",")).into())
}
