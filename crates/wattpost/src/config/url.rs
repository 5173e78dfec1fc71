//! URLs without their passwords, for logs and output.

/// URLs separated by commas, each without password and query.
pub(crate) fn without_password(urls: &str) -> String {
    let urls: Vec<String> = urls.split(',').map(one_without_password).collect();
    urls.join(",")
}

fn one_without_password(url: &str) -> String {
    // The query may contain secrets too.
    let (url, query) = match url.split_once('?') {
        Some((url, _)) => (url, "?…"),
        None => (url, ""),
    };
    let Some((scheme, rest)) = url.split_once("://") else {
        // Not a URL: anything in it may be a password.
        return if url.contains('@') {
            "…".to_owned()
        } else {
            format!("{url}{query}")
        };
    };
    // The last '@' ends the credentials: a password that is not percent-encoded may contain '@' and '/'.
    match rest.rsplit_once('@') {
        Some((credentials, host)) => {
            let user = credentials.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:…@{host}{query}")
        }
        None => format!("{scheme}://{rest}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_queries_are_removed() {
        for (url, expected) in [
            ("amqp://u:secret@h:1/v", "amqp://u:…@h:1/v"),
            (
                "amqp://u:secret@h:1/v,amqps://w:secret@i/v",
                "amqp://u:…@h:1/v,amqps://w:…@i/v",
            ),
            (
                "postgres://h/db?user=u&password=secret",
                "postgres://h/db?…",
            ),
            ("postgres://u:sec/r@ret@h/db", "postgres://u:…@h/db"),
            ("u:secret@h", "…"),
            ("rabbit", "rabbit"),
            ("postgres://h/db", "postgres://h/db"),
        ] {
            assert_eq!(without_password(url), expected);
            assert!(!without_password(url).contains("secret"));
        }
    }
}
