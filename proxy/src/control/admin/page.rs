//! The page for people in a hurry, and what belongs to it: files that are in the program.
//!
//! It is a client of the admin API like any other. It may load nothing from elsewhere and
//! run nothing that is not in its files, whatever stands in the answers that it shows.

use std::hash::{DefaultHasher, Hash, Hasher};

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HeaderName, IF_NONE_MATCH,
    REFERRER_POLICY, VARY,
};
use hyper::http::request::Parts;

use super::reply::{Reply, reply, text, with};
use super::resource::ENDPOINTS;
use crate::accept;

/// A file of the page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct File {
    name: &'static str,
    content_type: &'static str,
    content: &'static str,
}

const PAGE: File = File {
    name: "page.html",
    content_type: "text/html; charset=utf-8",
    content: include_str!("page/page.html"),
};

/// What the page asks for, below `/page/`.
const FILES: [File; 11] = [
    script("chart.js", include_str!("page/chart.js")),
    script("command.js", include_str!("page/command.js")),
    script("dom.js", include_str!("page/dom.js")),
    script("events.js", include_str!("page/events.js")),
    script("page.js", include_str!("page/page.js")),
    script("parts.js", include_str!("page/parts.js")),
    script("route.js", include_str!("page/route.js")),
    script("stream.js", include_str!("page/stream.js")),
    script("words.js", include_str!("page/words.js")),
    File {
        name: "icon.svg",
        content_type: "image/svg+xml",
        content: include_str!("page/icon.svg"),
    },
    File {
        name: "page.css",
        content_type: "text/css; charset=utf-8",
        content: include_str!("page/page.css"),
    },
];

/// What a browser may do with it: `require-trusted-types-for` also refuses texts as markup.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; object-src 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// The file with this name.
pub(super) fn find(name: &str) -> Option<File> {
    FILES.into_iter().find(|file| file.name == name)
}

/// What `GET /` answers: the page to who would rather have it than anything else, and the
/// list of endpoints to everybody else.
pub(super) fn index(head: &Parts) -> Reply {
    let answer = if prefers_page(head) {
        serve(PAGE, head)
    } else {
        text(StatusCode::OK, ENDPOINTS)
    };
    with(answer, VARY, "accept")
}

/// A file, or that the client has it already.
pub(super) fn serve(file: File, head: &Parts) -> Reply {
    let tag = entity_tag(file);
    let answer = if is_known(head, &tag) {
        reply(
            StatusCode::NOT_MODIFIED,
            file.content_type,
            Bytes::default(),
        )
    } else {
        reply(StatusCode::OK, file.content_type, file.content.into())
    };
    // `x-content-type-options` is in every reply.
    [
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (ETAG, &tag),
        (REFERRER_POLICY, "no-referrer"),
    ]
    .into_iter()
    .fold(answer, |answer, (name, value)| with(answer, name, value))
}

fn prefers_page(head: &Parts) -> bool {
    let fields = head.headers.get_all(ACCEPT).iter();
    let fields: Vec<&str> = fields.filter_map(|value| value.to_str().ok()).collect();
    let accept = fields.join(",");
    let page = accept::weight_of(&accept, |name| name.eq_ignore_ascii_case("text/html"));
    page > 0.0 && page >= accept::weight_of(&accept, |_| true)
}

const fn script(name: &'static str, content: &'static str) -> File {
    File {
        name,
        content_type: "text/javascript; charset=utf-8",
        content,
    }
}

/// Changes with the content.
fn entity_tag(file: File) -> String {
    let mut hasher = DefaultHasher::new();
    file.content.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

/// RFC 9110 §13.1.2: compared weakly.
fn is_known(head: &Parts, tag: &str) -> bool {
    let fields = head.headers.get_all(IF_NONE_MATCH).iter();
    fields
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}
