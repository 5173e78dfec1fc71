//! Certificates: installed ones are kept by what identifies them, and listed and deleted by hashes of that (RFC 6960).

use super::{Answer, items};
use crate::charger::Charger;
use crate::timestamp::TimestampUs;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ocpp::Version;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use std::fmt::Write as _;

/// Maximum number of certificates, as `CertificateStoreMaxLength` says.
pub(super) const CERTIFICATES_MAX: usize = 20;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// A certificate: its parts that identify it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    kind: String,
    /// The issuer's name in DER.
    issuer: Vec<u8>,
    /// The public key. Only roots are installed, and a root is its own issuer.
    key: Vec<u8>,
    serial: Vec<u8>,
}

impl Certificate {
    pub(super) fn bytes(&self) -> usize {
        self.kind.len() + self.issuer.len() + self.key.len() + self.serial.len()
    }

    /// Reads the first certificate of a text in PEM.
    fn from_pem(kind: &str, pem: &str) -> Option<Self> {
        let (_, rest) = pem.split_once(BEGIN)?;
        let (body, _) = rest.split_once(END)?;
        let body: String = body.split_whitespace().collect();
        let der = STANDARD.decode(body).ok()?;
        // Certificate ::= SEQUENCE { SEQUENCE { [0] version, serial, algorithm, issuer, validity, subject, key, ... } ... }
        let (certificate, _) = element(&der, 0x30)?;
        let mut rest = element(certificate.content, 0x30)?.0.content;
        if let Some((_, after)) = element(rest, 0xa0) {
            rest = after;
        }
        let (serial, rest) = element(rest, 0x02)?;
        let (_, rest) = element(rest, 0x30)?;
        let (issuer, rest) = element(rest, 0x30)?;
        let (_, rest) = element(rest, 0x30)?;
        let (_, rest) = element(rest, 0x30)?;
        let (key_info, _) = element(rest, 0x30)?;
        let (_, key) = element(key_info.content, 0x30)?;
        let (key, _) = element(key, 0x03)?;
        Some(Self {
            kind: kind.to_owned(),
            issuer: issuer.whole.to_vec(),
            // Without the byte that counts the unused bits.
            key: key.content.get(1..)?.to_vec(),
            serial: serial.content.to_vec(),
        })
    }

    fn hash_data(&self, algorithm: &str) -> Value {
        let hash = |bytes: &[u8]| match algorithm {
            "SHA384" => hexadecimal(&Sha384::digest(bytes)),
            "SHA512" => hexadecimal(&Sha512::digest(bytes)),
            _ => hexadecimal(&Sha256::digest(bytes)),
        };
        let serial = hexadecimal(&self.serial);
        let serial = match serial.trim_start_matches('0') {
            "" => "0",
            digits => digits,
        };
        json!({
            "hashAlgorithm": algorithm,
            "issuerNameHash": hash(&self.issuer),
            "issuerKeyHash": hash(&self.key),
            "serialNumber": serial.get(..40).unwrap_or(serial),
        })
    }

    fn is(&self, hash_data: &Value) -> bool {
        let algorithm = hash_data["hashAlgorithm"].as_str().unwrap_or_default();
        let own = self.hash_data(algorithm);
        ["issuerNameHash", "issuerKeyHash", "serialNumber"]
            .iter()
            .all(|name| {
                let text = |data: &Value| data[*name].as_str().map(str::to_lowercase);
                text(&own) == text(hash_data)
            })
    }
}

/// One element of DER.
struct Element<'a> {
    /// With its tag and length.
    whole: &'a [u8],
    content: &'a [u8],
}

/// The element at the beginning, which must have this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(Element<'_>, &[u8])> {
    let (&first, rest) = der.split_first()?;
    if first != tag {
        return None;
    }
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x0f))?;
            let length = digits
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    let whole = der.get(..der.len() - after.len())?;
    Some((Element { whole, content }, after))
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Whether a text holds a certificate in PEM.
pub(super) fn is_certificate(pem: &str) -> bool {
    Certificate::from_pem("", pem).is_some()
}

impl Charger {
    pub(super) fn install_certificate(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let kind = payload["certificateType"].as_str().unwrap_or_default();
        let pem = payload["certificate"].as_str().unwrap_or_default();
        let Some(certificate) = Certificate::from_pem(kind, pem) else {
            return self.status_because("Rejected", "InvalidCertificate");
        };
        let kept = self.kept();
        if kept.certificates.contains(&certificate) {
            return Answer::accepted();
        }
        if !kept.has_room(
            kept.certificates.len(),
            CERTIFICATES_MAX,
            certificate.bytes(),
        ) {
            return self.status_because("Rejected", "OutOfStorage");
        }
        kept.certificates.push(certificate);
        Answer::accepted()
    }

    pub(super) fn delete_certificate(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let hash_data = &payload["certificateHashData"];
        let certificates = &mut self.kept().certificates;
        let before = certificates.len();
        certificates.retain(|one| !one.is(hash_data));
        let is_deleted = certificates.len() < before;
        Answer::status_if(is_deleted, "Accepted", "NotFound")
    }

    pub(super) fn installed_certificate_ids_16(
        &mut self,
        payload: &Value,
        _: TimestampUs,
    ) -> Answer {
        let kind = payload["certificateType"].as_str();
        let found = self.kept().certificates.iter();
        let found: Vec<Value> = found
            .filter(|one| Some(one.kind.as_str()) == kind)
            .map(|one| one.hash_data("SHA256"))
            .collect();
        if found.is_empty() {
            return Answer::status("NotFound");
        }
        Answer::Result(json!({"status": "Accepted", "certificateHashData": found}))
    }

    pub(super) fn installed_certificate_ids_2(
        &mut self,
        payload: &Value,
        _: TimestampUs,
    ) -> Answer {
        let kinds: Vec<&str> = items(&payload["certificateType"])
            .filter_map(Value::as_str)
            .collect();
        let found = self.kept().certificates.iter();
        let found: Vec<Value> = found
            .filter(|one| kinds.is_empty() || kinds.contains(&one.kind.as_str()))
            .map(|one| {
                json!({
                    "certificateType": one.kind,
                    "certificateHashData": one.hash_data("SHA256"),
                })
            })
            .collect();
        if found.is_empty() {
            return Answer::status("NotFound");
        }
        Answer::Result(json!({"status": "Accepted", "certificateHashDataChain": found}))
    }

    /// A signed certificate is checked for its form only; a simulated charger does not use it.
    pub(super) fn certificate_signed(&mut self, payload: &Value, _: TimestampUs) -> Answer {
        let chain = payload["certificateChain"].as_str().unwrap_or_default();
        if is_certificate(chain) {
            Answer::accepted()
        } else {
            self.status_because("Rejected", "InvalidCertificate")
        }
    }

    /// A request to sign the charger's certificate.
    pub(super) fn certificate_request(&mut self, kind: Option<&str>) -> Value {
        let mut request = json!({ "csr": CERTIFICATE_REQUEST });
        if let Some(kind) = kind.filter(|_| self.version != Version::V16) {
            request["certificateType"] = json!(kind);
        }
        if self.version == Version::V21 {
            let kept = self.kept();
            kept.certificate_requests = kept.certificate_requests.wrapping_add(1);
            let number = kept.certificate_requests;
            request["requestId"] = json!(number);
        }
        request
    }
}

/// The request of all simulated chargers. Its private key was not kept.
const CERTIFICATE_REQUEST: &str = "-----BEGIN CERTIFICATE REQUEST-----\n\
MIHbMIGDAgEAMCExETAPBgNVBAoMCFdhdHRwb3N0MQwwCgYDVQQDDANTSU0wWTAT\n\
BgcqhkjOPQIBBggqhkjOPQMBBwNCAAQ2WNCpiGK1H4F7CKQWEohsmVi3EGRyT4Q2\n\
vEPOB0iqKhtmHKZZxIhetHwvUYFWrbmhiYYjcNJiHNp6lMl1vtDjoAAwCgYIKoZI\n\
zj0EAwIDRwAwRAIgBKieJzVVKtmylLhqHWFWIhDLDkOwGsrhu1UcXGqSkkMCID3O\n\
y1tpumpVaeFlsxCssrOngC863pLrhYfri0txHC0B\n\
-----END CERTIFICATE REQUEST-----";

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A self-signed certificate.
    pub(in crate::charger) const ROOT: &str = "-----BEGIN CERTIFICATE-----\n\
MIIBnjCCAUWgAwIBAgIEChssPTAKBggqhkjOPQQDAjAsMREwDwYDVQQKDAhXYXR0\n\
cG9zdDEXMBUGA1UEAwwOU2ltdWxhdGVkIFJvb3QwIBcNMjYxMTI4MTMzMzQxWhgP\n\
MjEyNjExMDQxMzMzNDFaMCwxETAPBgNVBAoMCFdhdHRwb3N0MRcwFQYDVQQDDA5T\n\
aW11bGF0ZWQgUm9vdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMNg3yTZrY4H\n\
1zBuLzPlP580G2NUYx2EMPrah8Vd9EYoM+aAqTi0fqJLeerADVkfF4LktggHfSEs\n\
mHnzI//wx8yjUzBRMB0GA1UdDgQWBBTD5FqfIc5sGwcODD6ffFbvby0NTzAfBgNV\n\
HSMEGDAWgBTD5FqfIc5sGwcODD6ffFbvby0NTzAPBgNVHRMBAf8EBTADAQH/MAoG\n\
CCqGSM49BAMCA0cAMEQCIGRGJBfmB9sPCEnaQPUoEjecXYZm9v1/wfJrGdJpCpr8\n\
AiAcY4+YeK5nXUIF+iVq6F2lSCmnz5Jyxrzt+IythJqpdA==\n\
-----END CERTIFICATE-----";

    #[test]
    fn the_hashes_of_a_root_are_those_of_openssl() {
        let root = Certificate::from_pem("CSMSRootCertificate", ROOT).unwrap();
        let data = root.hash_data("SHA256");
        assert_eq!(
            data["issuerNameHash"],
            "2e6485f9b835425d4ecf78cc6cc2d4816536d44a28116c7894348914865e0f37"
        );
        assert_eq!(
            data["issuerKeyHash"],
            "b20cd3ba2dd0535f30ab6847817f6a7b7029f7a77d916a497fa380d3fc119fd8"
        );
        assert_eq!(data["serialNumber"], "a1b2c3d");
        assert!(root.is(&root.hash_data("SHA512")));
        let mut other = root.hash_data("SHA384");
        other["serialNumber"] = json!("1");
        assert!(!root.is(&other));
    }

    #[test]
    fn a_text_that_is_no_certificate_is_refused() {
        assert!(!is_certificate("x"));
        assert!(!is_certificate(&format!("{BEGIN}\nAAAA\n{END}")));
        for cut in (0..ROOT.len()).step_by(7) {
            let _ = is_certificate(&format!("{}{END}", &ROOT[..cut]));
        }
    }
}
