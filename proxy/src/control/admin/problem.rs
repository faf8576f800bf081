//! What went wrong, as `application/problem+json` (RFC 9457) with a hint.

use std::sync::Arc;

use haldane_decide::rollout::Rejected;
use hyper::header::{ALLOW, WWW_AUTHENTICATE};
use hyper::{Method, StatusCode};
use serde::Serialize;

use super::config::DiagnosticView;
use super::reply::{Reply, reply, with};
use crate::live::Route;

/// How much of what a client wrote is repeated to it.
const QUOTED_CHARS_MAX: usize = 200;

/// Why a request was not carried out.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// The last part of `type`; part of the contract.
    kind: &'static str,
    title: &'static str,
    detail: String,
    hint: String,
    extra: Extra,
}

/// What the response says besides.
#[derive(Debug)]
enum Extra {
    Allow(&'static str),
    Authenticate,
    Diagnostics(Vec<DiagnosticView>),
    None,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    hint: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    diagnostics: &'a [DiagnosticView],
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            status,
            kind,
            title,
            detail: detail.into(),
            hint: hint.into(),
            extra: Extra::None,
        }
    }

    /// With everything that is wrong with a configuration.
    pub(super) fn with_diagnostics(self, diagnostics: Vec<DiagnosticView>) -> Self {
        Self {
            extra: Extra::Diagnostics(diagnostics),
            ..self
        }
    }

    /// 400: what the client sent makes no sense.
    pub(super) fn bad(
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::new(StatusCode::BAD_REQUEST, kind, title, detail, hint)
    }

    pub(super) fn body(detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::bad("body", "the body cannot be used", detail, hint)
    }

    pub(super) fn query(query: &str, hint: &str) -> Self {
        let detail = format!("the query is \"{}\"", quoted(query));
        Self::bad("query", "the query cannot be used", detail, hint)
    }

    pub(super) fn forbidden(
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::new(StatusCode::FORBIDDEN, kind, title, detail, hint)
    }

    pub(super) fn unauthorized() -> Self {
        Self {
            extra: Extra::Authenticate,
            ..Self::new(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "this needs the token",
                "the request carries no token, or another one",
                "send `Authorization: Bearer` with the content of admin.token_file",
            )
        }
    }

    pub(super) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the answer cannot be written",
            "this is a mistake in haldane",
            "traffic is not affected",
        )
    }

    pub(super) fn no_endpoint(path: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no-endpoint",
            "there is nothing here",
            format!("no endpoint has the path \"{}\"", quoted(path)),
            "GET / lists the endpoints of the admin listener",
        )
    }

    pub(super) fn wrong_method(method: &Method, allow: &'static str) -> Self {
        Self {
            extra: Extra::Allow(allow),
            ..Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method",
                "this endpoint has another method",
                format!("the method is {}", quoted(method.as_str())),
                format!("use {allow}"),
            )
        }
    }

    pub(super) fn unknown_route(name: &str, routes: &[Arc<Route>]) -> Self {
        let known: Vec<&str> = routes.iter().map(|route| &*route.config.name).collect();
        Self::new(
            StatusCode::NOT_FOUND,
            "unknown-route",
            "there is no such route",
            format!("no route is named \"{}\"", quoted(name)),
            format!("the routes are: {}", known.join(", ")),
        )
    }

    pub(super) fn conflict(detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "conflict",
            "the command is not legal now",
            detail,
            hint,
        )
    }

    pub(super) fn into_reply(self) -> Reply {
        let body = Body {
            r#type: format!("urn:haldane:problem:{}", self.kind),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            hint: &self.hint,
            diagnostics: match &self.extra {
                Extra::Diagnostics(diagnostics) => diagnostics,
                Extra::Allow(_) | Extra::Authenticate | Extra::None => &[],
            },
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let answer = reply(self.status, "application/problem+json", body.into());
        match self.extra {
            Extra::Allow(methods) => with(answer, ALLOW, methods),
            Extra::Authenticate => with(answer, WWW_AUTHENTICATE, "Bearer realm=\"haldane\""),
            Extra::Diagnostics(_) | Extra::None => answer,
        }
    }
}

impl From<Rejected> for Problem {
    fn from(rejected: Rejected) -> Self {
        Self::conflict(rejected.to_string(), rejected.hint())
    }
}

/// What a client wrote, short enough to repeat, and without anything that a terminal would act
/// on.
pub(super) fn quoted(text: &str) -> String {
    let shown = text.chars().map(|character| {
        if character.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            character
        }
    });
    shown.take(QUOTED_CHARS_MAX).collect()
}
