//! URLs without their passwords, for logs and output.
//!
//! A person may have typed a URL wrongly, with a password that is not percent-encoded. Then nothing says where the password
//! ends, so whatever is not certainly a scheme, a user, a host or a path is replaced by `…`.

/// What is shown in place of what may be a secret.
pub(super) const HIDDEN: &str = "…";

/// URLs separated by commas, each without password, query and fragment. Scheme, user, host, port and path are shown where
/// they cannot be a part of a password; a URL with `@` in more than one place is shown by its scheme only. The path of
/// `sqlite:PATH` is shown whole. A text that is no URL is shown if it is a single word of letters, digits, `.`, `-` and `_`.
pub(crate) fn without_password(urls: &str) -> String {
    if urls.trim_start().starts_with("sqlite:") {
        return urls.to_owned();
    }
    let urls: Vec<String> = pieces(urls).into_iter().map(one_without_password).collect();
    urls.join(",")
}

/// The URLs of a list. Only RabbitMQ's may be in one, and a comma within a password ends none: only one before a scheme does.
fn pieces(urls: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut begin = 0;
    for (comma, _) in urls.match_indices(',') {
        let next = urls[comma + 1..].trim_start();
        if next.starts_with("amqp://") || next.starts_with("amqps://") {
            pieces.push(&urls[begin..comma]);
            begin = comma + 1;
        }
    }
    pieces.push(&urls[begin..]);
    pieces
}

fn one_without_password(url: &str) -> String {
    let url = url.trim();
    let Some((scheme, rest)) = url
        .split_once("://")
        .filter(|(scheme, _)| is_scheme(scheme))
    else {
        // Not a URL: anything in it may be a password.
        return if url.bytes().all(|sign| is_plain(sign, b".-_")) {
            url.to_owned()
        } else {
            HIDDEN.to_owned()
        };
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    let end = after.find(['?', '#']).unwrap_or(after.len());
    let (path, query) = after.split_at(end);
    let (credentials, host) = match authority.rsplit_once('@') {
        Some((credentials, host)) => (Some(credentials), host),
        None => (None, authority),
    };
    // A password with a sign that ends the host is followed by `@`: then where it ends is not known.
    let is_certain = !after.contains('@') && !has_encoded_at(after) && is_host(host);
    if !is_certain {
        return format!("{scheme}://{HIDDEN}");
    }
    let credentials = credentials.map_or_else(String::new, shown_credentials);
    let path = match path.bytes().all(|sign| is_plain(sign, b"/.-_~%")) {
        true => path,
        false => "/…",
    };
    let query = match query.chars().next() {
        Some(sign) => format!("{sign}{HIDDEN}"),
        None => String::new(),
    };
    format!("{scheme}://{credentials}{host}{path}{query}")
}

/// The user, if there is a password too. Credentials of one part may be a token.
fn shown_credentials(credentials: &str) -> String {
    let user = credentials.split_once(':').map(|(user, _)| user);
    match user.filter(|user| user.bytes().all(|sign| is_plain(sign, b".-_+"))) {
        Some(user) => format!("{user}:{HIDDEN}@"),
        None => format!("{HIDDEN}@"),
    }
}

/// Whether this can only be a name or an address with a port, or the directory of a socket.
fn is_host(host: &str) -> bool {
    if host.starts_with("%2F") || host.starts_with("%2f") {
        return !has_encoded_at(host) && host.bytes().all(|sign| is_plain(sign, b".-_%"));
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !host.ends_with(']') => (name, port),
        _ => (host, ""),
    };
    let is_v6 = name.starts_with('[') && name.ends_with(']');
    let is_name = match is_v6 {
        true => name.bytes().all(|sign| is_plain(sign, b"[]:.")),
        false => name.bytes().all(|sign| is_plain(sign, b".-_")),
    };
    is_name && port.len() <= 5 && port.bytes().all(|sign| sign.is_ascii_digit())
}

fn has_encoded_at(text: &str) -> bool {
    text.contains("%40")
}

fn is_scheme(text: &str) -> bool {
    let text = text.trim_start();
    text.starts_with(|sign: char| sign.is_ascii_alphabetic())
        && text.bytes().all(|sign| is_plain(sign, b"+.-"))
}

fn is_plain(sign: u8, others: &[u8]) -> bool {
    sign.is_ascii_alphanumeric() || others.contains(&sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_queries_are_removed() {
        for (url, expected) in [
            ("amqp://u:secret@h:1/v", "amqp://u:…@h:1/v"),
            (
                "amqp://u:secret@h:1/%2f,amqps://w:secret@i/v",
                "amqp://u:…@h:1/%2f,amqps://w:…@i/v",
            ),
            (
                "amqp://u:secret@h:1/v, amqps://w:secret@i/v",
                "amqp://u:…@h:1/v,amqps://w:…@i/v",
            ),
            (
                "postgres://h/db?user=u&password=secret",
                "postgres://h/db?…",
            ),
            ("postgres://u:secret@h", "postgres://u:…@h"),
            ("postgres://u:se@cret@h/db", "postgres://u:…@h/db"),
            ("postgres://u:se%40cret@h/db", "postgres://u:…@h/db"),
            (
                "postgres://u:secret@[::1]:5432/db",
                "postgres://u:…@[::1]:5432/db",
            ),
            (
                "postgres://u:secret@%2Fvar%2Frun%2Fpostgresql/db",
                "postgres://u:…@%2Fvar%2Frun%2Fpostgresql/db",
            ),
            ("postgres://h/db#secret", "postgres://h/db#…"),
            ("rabbit", "rabbit"),
            ("", ""),
            ("postgres://h/db", "postgres://h/db"),
            ("mysql://x", "mysql://x"),
            ("sqlite:/data/a@b,c.db", "sqlite:/data/a@b,c.db"),
        ] {
            assert_eq!(without_password(url), expected);
        }
    }

    /// Each has a fault for which Wattpost refuses it, or reads it in another way than its author.
    #[test]
    fn no_part_of_a_password_is_shown_that_was_typed_wrongly() {
        for url in [
            "postgres://u:s3c/r3t@r3t@h/db",
            "postgres://u:s3c@r3t/r3t@h/db",
            "postgres://u:s3c?r3t@h/db",
            "postgres://u:s3c#r3t@h/db",
            "postgres://u:s3c,r3t@h/db",
            "amqp://u:s3c,r3t@h/v,amqp://u:r3t,s3c@i/v",
            "amqp://u:s3c,r3t://r3t@h/v",
            "postgres://u:s3c%2Cr3t@h/db",
            "postgres://u%3As3c%40h/db",
            "postgres://u%3As3cr3t@h/db",
            "postgres://u:s3c@r3t%40h/db",
            "postgres://s3cr3t@h/db",
            "postgres://u:s3cr3t/db",
            "postgres://h/db?password=s3c@r3t",
            "postgres://h/db?user=a@b&password=s3cr3t",
            "postgres://u:x@h/db;password=s3cr3t",
            "postgres:/u:s3cr3t@h/db",
            "postgres:%2F%2Fu:s3cr3t%40h/db",
            "://u:s3cr3t@h/db",
            "u:s3cr3t@h",
            "u:s3c?r3t@h",
            "u:s3cr3t",
            "host=h user=u password=s3cr3t",
            "postgres://u:s3c r3t@h/db",
            "postgres://u:s3c\nr3t@h/db",
            "postgres://u:s3c€r3t@h/db",
            "host h,postgres://u:s3cr3t@h/db",
            " postgres://u:s3cr3t@h/db",
        ] {
            let shown = without_password(url);
            assert!(
                !shown.contains("s3c") && !shown.contains("r3t"),
                "{url} is shown as {shown}"
            );
        }
    }
}
