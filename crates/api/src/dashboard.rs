//! The dashboard: the files of `dashboard/dist`, which are part of the binary.
//!
//! `make build`, `make demo` and `make test` build these files with npm. A binary that was built without them
//! serves a page that says how to build them. Every page of the dashboard has the same HTML; its script reads the address.
//! The files need no key, because they are the same in every installation of this version; what they show comes
//! from the API.

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use rust_embed::{EmbeddedFile, RustEmbed};

/// The first segments of the dashboard's addresses. Each has a page, and addresses below it belong to the same page.
const PAGES: [&str; 17] = [
    "alerts",
    "pipeline",
    "chargers",
    "messages",
    "transactions",
    "commands",
    "tokens",
    "dead-letters",
    "audit",
    "batches",
    "webhooks",
    "keys",
    "system",
    "users",
    "waiting-room",
    "wallboard",
    "sign-in",
];
/// The folder of files whose names contain a hash of their content.
const ASSETS: &str = "/assets/{*file}";

/// What the page may load and do: only from this host, and no script or style in the HTML itself.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types svelte-trusted-html";

/// The answer of a binary that was built without the dashboard.
const NOT_BUILT: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
    <meta name=viewport content=\"width=device-width\"><title>Wattpost</title><h1>Wattpost runs</h1>\
    <p>This binary was built without the dashboard. To build it with the dashboard, run \
    <code>make build</code>, which needs Node.js (20.19, or 22.12 or newer) with npm.</p>\
    <p>The <a href=\"/docs\">description of the API</a> is here, and <a href=\"/api/v1/pipeline\">the state of the \
    pipeline</a>, and <a href=\"/health/ready\">health</a>.</p></html>\n";

#[derive(RustEmbed)]
#[folder = "../../dashboard/dist"]
#[allow_missing = true]
struct Files;

/// The routes of the dashboard, without `/`, which the index of the API shares.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    let router = PAGES.iter().fold(router, |router, page| {
        router
            .route(&format!("/{page}"), get(page_of))
            .route(&format!("/{page}/{{*rest}}"), get(page_of))
    });
    router
        .route(ASSETS, get(asset))
        .route("/favicon.svg", get(icon))
}

/// Whether a route, as axum writes it, is one of the dashboard's.
pub(crate) fn is_route(path: &str) -> bool {
    let first = path.split('/').nth(1).unwrap_or_default();
    path == ASSETS || path == "/favicon.svg" || PAGES.contains(&first)
}

/// Whether the client is a browser that opens a page: it names HTML first among the media types that it accepts.
pub(crate) fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT);
    let accept = accept.and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.trim_start().starts_with("text/html"))
}

async fn page_of(headers: HeaderMap) -> Response {
    page(&headers)
}

/// The HTML of every page.
pub(crate) fn page(headers: &HeaderMap) -> Response {
    html(file("index.html", headers))
}

/// A page with the headers of all pages: the built one, or without it the text that says how to build it.
fn html(built: Option<Response>) -> Response {
    let mut response =
        built.unwrap_or_else(|| with_type(Body::from(NOT_BUILT), "text/html; charset=utf-8"));
    let answer = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (header::VARY, "Accept, Accept-Encoding"),
    ] {
        answer.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn icon(headers: HeaderMap) -> Response {
    file("favicon.svg", &headers).unwrap_or_else(missing)
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(mut response) = file(&format!("assets/{name}"), &headers) else {
        return missing();
    };
    // Another content has another name.
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=31536000, immutable"),
    );
    response
}

fn missing() -> Response {
    let mut response = with_type(
        Body::from("This version has no such file.\n"),
        "text/plain; charset=utf-8",
    );
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// A file in the best encoding that the client accepts, with a strong entity tag.
fn file(name: &str, headers: &HeaderMap) -> Option<Response> {
    let plain = Files::get(name)?;
    let encoded = ["br", "gzip"].into_iter().find_map(|encoding| {
        let suffix = match encoding {
            "gzip" => "gz",
            other => other,
        };
        let file = Files::get(&format!("{name}.{suffix}"))?;
        accepts(headers, encoding).then_some((encoding, file))
    });
    let (encoding, file) = match encoded {
        Some((encoding, file)) => (Some(encoding), file),
        None => (None, plain),
    };
    let tag = entity_tag(&file);
    let mut response = with_type(Body::from(file.data), media_type(name));
    let answer = response.headers_mut();
    answer.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Some(encoding) = encoding {
        answer.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer.insert(header::ETAG, tag);
    }
    Some(response)
}

fn entity_tag(file: &EmbeddedFile) -> String {
    let hash = blake3::hash(&file.data).to_hex();
    format!("\"{}\"", &hash[..32])
}

/// Whether `Accept-Encoding` names this encoding without the weight 0.
fn accepts(headers: &HeaderMap, encoding: &str) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    let mut named = values.flat_map(|value| value.split(','));
    named.any(|one| {
        let mut parts = one.split(';');
        let is_named = parts
            .next()
            .is_some_and(|name| name.trim().eq_ignore_ascii_case(encoding));
        let weight = parts.find_map(|part| part.trim().strip_prefix("q="));
        let is_zero = weight.is_some_and(|weight| weight.parse() == Ok(0.0_f32));
        is_named && !is_zero
    })
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}

fn with_type(body: Body, media: &'static str) -> Response {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().expect("a value"));
        headers
    }

    #[test]
    fn an_encoding_is_accepted_unless_its_weight_is_zero() {
        let cases = [
            ("gzip, deflate, br", true),
            ("BR;q=0.5", true),
            ("gzip, br;q=0", false),
            ("gzip;q=1, br; q=0.0", false),
            ("brotli", false),
            ("", false),
        ];
        for (value, expected) in cases {
            let headers = headers(header::ACCEPT_ENCODING, value);
            assert_eq!(accepts(&headers, "br"), expected, "{value}");
        }
    }

    #[test]
    fn browsers_get_pages_and_programs_get_json() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        assert!(wants_page(&headers(header::ACCEPT, browser)));
        for program in ["*/*", "application/json", "application/json, text/html"] {
            assert!(!wants_page(&headers(header::ACCEPT, program)), "{program}");
        }
        assert!(!wants_page(&HeaderMap::new()));
    }

    #[test]
    fn pages_permit_no_inline_script_and_no_other_host() {
        let response = page(&HeaderMap::new());
        let policy = &response.headers()[header::CONTENT_SECURITY_POLICY];
        let policy = policy.to_str().expect("a text");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
        assert!(!policy.contains("http:") && !policy.contains("https:"));
    }

    #[tokio::test]
    async fn a_binary_without_the_dashboard_says_how_to_build_it() {
        let response = html(None);
        assert_eq!(response.status(), StatusCode::OK);
        let headers = response.headers().clone();
        assert_eq!(headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
        let built = page(&HeaderMap::new());
        for name in [
            header::CONTENT_SECURITY_POLICY,
            header::REFERRER_POLICY,
            HeaderName::from_static("cross-origin-opener-policy"),
            header::VARY,
        ] {
            assert!(headers.contains_key(&name), "{name}");
            assert_eq!(headers[&name], built.headers()[&name], "{name}");
        }
        // The text changes with the next build, so no browser may keep it.
        assert!(
            !headers.contains_key(header::ETAG) && !headers.contains_key(header::CACHE_CONTROL)
        );
        let body = axum::body::to_bytes(response.into_body(), 64 * 1024).await;
        let text = String::from_utf8(body.expect("a body").to_vec()).expect("UTF-8");
        for part in [
            "Wattpost runs",
            "without the dashboard",
            "<code>make build</code>",
            "Node.js (20.19, or 22.12 or newer)",
            "href=\"/docs\"",
            "href=\"/api/v1/pipeline\"",
            "href=\"/health/ready\"",
        ] {
            assert!(text.contains(part), "{part}");
        }
        // The policy permits neither a script nor a style in the page, nor another host.
        for forbidden in ["<script", "<style", " style=", "http:", "https:"] {
            assert!(!text.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn only_addresses_of_the_dashboard_are_its_routes() {
        assert!(is_route("/chargers/{*rest}") && is_route("/pipeline") && is_route(ASSETS));
        assert!(!is_route("/api/v1/chargers") && !is_route("/") && !is_route("/metrics"));
    }
}
