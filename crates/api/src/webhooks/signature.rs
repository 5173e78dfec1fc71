//! The signature of a message, by which a receiver knows that it comes from this system and was not changed.
//!
//! Source: Standard Webhooks 1.0.0, the symmetric scheme `v1`: HMAC-SHA256 over `id.timestamp.body`, in Base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use central::model::WebhookSecret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

fn sign(secret: &WebhookSecret, id: &str, timestamp_s: i64, body: &[u8]) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.key()).expect("HMAC takes any key");
    mac.update(format!("{id}.{timestamp_s}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// The value of the header `webhook-signature`: a signature for each secret, with spaces between them. While a secret is being
/// replaced there are two, and a receiver accepts the message if one signature is right.
pub(super) fn header(
    secrets: &[&WebhookSecret],
    id: &str,
    timestamp_s: i64,
    body: &[u8],
) -> String {
    let signatures: Vec<String> = secrets
        .iter()
        .map(|secret| sign(secret, id, timestamp_s, body))
        .collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const RIGHT: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secret() -> WebhookSecret {
        WebhookSecret::from_text(SECRET).expect("a secret")
    }

    #[test]
    fn signature_is_that_of_the_specification() {
        assert_eq!(header(&[&secret()], ID, 1_614_265_330, BODY), RIGHT);
    }

    #[test]
    fn each_of_two_secrets_has_a_signature() {
        let other = WebhookSecret::from_random([7; 32]);
        let both = header(&[&other, &secret()], ID, 1_614_265_330, BODY);
        let (first, second) = both.split_once(' ').expect("two signatures");
        assert_ne!(first, second);
        assert!(first.starts_with("v1,"), "{first}");
        assert_eq!(second, RIGHT);
    }

    #[test]
    fn signature_depends_on_each_part() {
        let secret = secret();
        let keys = [&secret];
        for other in [
            header(&keys, "msg_other", 1_614_265_330, BODY),
            header(&keys, ID, 1_614_265_331, BODY),
            header(&keys, ID, 1_614_265_330, b"{}"),
        ] {
            assert_ne!(other, RIGHT);
        }
    }
}
