//! Passwords of chargers, as the command line and the API take them: their bounds, a generated one, and the hash that is
//! stored.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use std::borrow::Cow;

/// What a password that Wattpost sends to a charger must be, for error messages: what every version of OCPP takes
/// (`AuthorizationKey` of 1.6, rule S-4; `BasicAuthPassword` of 2.x, rule S-5).
pub const SENT_EXPECTED: &str = "16 to 20 printable ASCII characters without space, quote and backslash, or 32 to 40 \
     hexadecimal digits, an even number of them";

/// Whether a password may be sent to a charger: see [`SENT_EXPECTED`].
#[must_use]
pub fn can_be_sent(password: &str) -> bool {
    let is_plain = (16..=20).contains(&password.len())
        && password
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\'));
    is_plain || is_key(password)
}

/// What a password that is only set in Wattpost must be, for error messages.
pub const SET_EXPECTED: &str =
    "a text of 8 to 64 bytes without control characters (OCPP chargers accept 16 to 40)";

/// Whether a password may be set: see [`SET_EXPECTED`].
#[must_use]
pub fn can_be_set(password: &str) -> bool {
    (8..=64).contains(&password.len()) && !password.contains(char::is_control)
}

/// A new password that every version of OCPP takes: 120 random bits of the operating system as 40 hexadecimal digits. The 20
/// bytes that they stand for are letters, digits, `-` and `_`, because a charger of 1.6 may log in with these bytes.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn generate() -> Result<String, String> {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes)
        .map_err(|error| format!("get random bytes for a password: {error}"))?;
    let signs = bytes.iter().map(|byte| SIGNS[usize::from(byte & 63)]);
    Ok(signs.map(|sign| format!("{sign:02x}")).collect())
}

/// Argon2id with a new salt, as a PHC string. The password itself is not stored (A01.FR.08). A key of 1.6 is hashed in
/// lower case: chargers send such a key as hexadecimal in either case or as raw bytes (rule S-4), and the gateway compares
/// all of them with this form. Takes tens of milliseconds on purpose.
///
/// # Errors
/// When the operating system gives no salt.
pub fn hash(password: &str) -> Result<String, String> {
    hash_by(&Argon2::default(), password)
}

/// As [`hash`], for a password of [`generate`] only, and within a fraction of a millisecond. Nobody can guess 120 random
/// bits, however fast a guess is; and thousands of chargers that come back at once to a gateway that was started again are
/// checked quickly.
///
/// # Errors
/// When the operating system gives no salt.
pub fn hash_generated(password: &str) -> Result<String, String> {
    // The least memory, time and threads that Argon2 allows (RFC 9106, section 3.1).
    let least = Params::new(Params::MIN_M_COST, 1, 1, None)
        .map_err(|error| format!("hash the password: {error}"))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, least);
    hash_by(&argon2, password)
}

/// Whether `password` is that of `hash`, as [`hash`] and [`hash_generated`] make it. Takes tens of milliseconds.
#[must_use]
pub fn fits(password: &str, hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else {
        return false;
    };
    let password = normalized(password);
    Argon2::default()
        .verify_password(password.as_bytes(), &hash)
        .is_ok()
}

fn hash_by(argon2: &Argon2<'_>, password: &str) -> Result<String, String> {
    let hash: PasswordHash = argon2
        .hash_password(normalized(password).as_bytes())
        .map_err(|error| format!("hash the password: {error}"))?;
    Ok(hash.to_string())
}

/// A digest of `text` that is as expensive to guess as a stored hash of a password: Argon2id with a salt of 16 bytes that
/// the caller gives. Equal inputs have equal digests.
///
/// # Errors
/// When there is not enough memory for the computation.
pub fn slow_digest(text: &[u8], salt: &[u8; 16]) -> Result<[u8; 32], String> {
    let mut digest = [0; 32];
    Argon2::default()
        .hash_password_into(text, salt, &mut digest)
        .map_err(|error| format!("digest a request with a password: {error}"))?;
    Ok(digest)
}

/// The form of which the hash is made.
fn normalized(password: &str) -> Cow<'_, str> {
    match is_key(password) {
        true => Cow::Owned(password.to_ascii_lowercase()),
        false => Cow::Borrowed(password),
    }
}

/// Whether it is an `AuthorizationKey` of 1.6 in hexadecimal.
fn is_key(password: &str) -> bool {
    (32..=40).contains(&password.len())
        && password.len().is_multiple_of(2)
        && password.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_generated_password_is_verified_as_any_other_and_has_the_least_cost() {
        let password = generate().unwrap();
        let (cheap, usual) = (hash_generated(&password).unwrap(), hash(&password).unwrap());
        assert!(cheap.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{cheap}");
        assert!(!usual.contains("m=8,"), "{usual}");
        for text in [&cheap, &usual] {
            assert!(fits(&password, text) && fits(&password.to_ascii_uppercase(), text));
            assert!(!fits("another", text) && !fits(&password, "no hash"));
        }
    }

    #[test]
    fn what_is_sent_is_taken_by_every_version() {
        for good in [
            "0123456789abcdef",
            "with:colon-and*+20ch",
            "00112233445566778899AABBCCDDEEFF",
            "00112233445566778899aabbccddeeff00112233",
        ] {
            assert!(can_be_sent(good), "{good}");
        }
        for bad in [
            "",
            "fifteen-letters",
            "twenty-one-characters",
            "sixteen with spac",
            "sixteen\"quoted-ch",
            "sixteen-letters-ü",
            "00112233445566778899aabbccddeef",
            "00112233445566778899aabbccddeeff0",
            "00112233445566778899aabbccddeeff0011223344",
            "0g112233445566778899aabbccddeeff",
        ] {
            assert!(!can_be_sent(bad), "{bad}");
        }
        let (one, two) = (generate().expect("random"), generate().expect("random"));
        assert!(can_be_sent(&one) && one.len() == 40);
        assert_ne!(one, two);
    }

    #[test]
    fn a_hash_has_a_salt_and_a_digest_is_repeatable() {
        assert_ne!(hash("0123456789abcdef"), hash("0123456789abcdef"));
        let digest = |text: &str, salt: u8| slow_digest(text.as_bytes(), &[salt; 16]);
        assert_eq!(digest("a", 1), digest("a", 1));
        assert_ne!(digest("a", 1), digest("b", 1));
        assert_ne!(digest("a", 1), digest("a", 2));
    }
}
