//! Certificates: without a certificate authority, each question gets the failure that the standard foresees in a
//! CALLRESULT, never a CALLERROR (F-9).

use crate::actions::Action;
use crate::answer::{Decision, Scene};
use crate::project;
use ocpp::json::Raw;

pub(super) const GET_15118_EV_CERTIFICATE: Action =
    refused("Get15118EVCertificate", get_15118_ev_certificate);
pub(super) const GET_CERTIFICATE_STATUS: Action =
    refused("GetCertificateStatus", get_certificate_status);
/// Of 2.1.
pub(super) const GET_CERTIFICATE_CHAIN_STATUS: Action =
    action("GetCertificateChainStatus", get_certificate_chain_status);

const fn refused(name: &'static str, answer: fn(&Scene<'_>) -> Decision) -> Action {
    Action {
        project: project::nothing,
        ..Action::refused(name, answer)
    }
}

const fn action(name: &'static str, answer: fn(&Scene<'_>) -> Decision) -> Action {
    Action {
        project: project::nothing,
        ..Action::answered(name, answer)
    }
}

fn get_15118_ev_certificate(_: &Scene<'_>) -> Decision {
    Decision::Answer(r#"{"status":"Failed","exiResponse":""}"#.into())
}

fn get_certificate_status(_: &Scene<'_>) -> Decision {
    Decision::Answer(r#"{"status":"Failed"}"#.into())
}

/// One status per requested certificate, which it names as the charger did.
fn get_certificate_chain_status(scene: &Scene<'_>) -> Decision {
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
