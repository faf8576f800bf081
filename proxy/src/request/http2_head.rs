//! Heads as HTTP/2 messages: pseudo-header fields and fields.

use h2::ext::Protocol;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};

use super::error::ClientError;
use super::fields::Fields;
use super::forward::{
    Envelope, Introduction, accepts_trailers, interim_fields, request_fields, response_fields,
};
use super::inbound::Inbound;
use super::switch::{ACCEPT, KEY, Switch};
use crate::h1::head::Head;

/// As many fields as haldane usually adds to a request, and to an answer: no map has to grow.
const ADDED_UP: usize = 6;
const ADDED_DOWN: usize = 2;

/// Where a request goes.
pub(crate) struct Destination<'a> {
    pub(crate) tls: bool,
    /// Named where the client named no host.
    pub(crate) authority: &'a str,
}

/// A request as its upstream gets it.
///
/// # Errors
///
/// If the host or the target has characters that HTTP/2 does not carry.
pub(crate) fn request(
    inbound: &Inbound<'_>,
    introduction: &Introduction<'_>,
    switch: Option<&Switch<'_>>,
    destination: &Destination<'_>,
) -> Result<Request<()>, ClientError> {
    let host = match inbound.host {
        b"" => destination.authority.as_bytes(),
        host => host,
    };
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(if destination.tls {
        Scheme::HTTPS
    } else {
        Scheme::HTTP
    });
    uri.authority = Some(Authority::try_from(host).map_err(|_| ClientError::Host)?);
    uri.path_and_query =
        Some(PathAndQuery::try_from(inbound.target).map_err(|_| ClientError::Target)?);
    let mut request = Request::new(());
    *request.uri_mut() = Uri::from_parts(uri).map_err(|_| ClientError::Target)?;
    *request.method_mut() = match switch {
        Some(switch) => {
            let protocol = std::str::from_utf8(switch.protocol());
            let protocol = protocol.map_err(|_| ClientError::Head)?;
            request.extensions_mut().insert(Protocol::from(protocol));
            Method::CONNECT
        }
        None => Method::from_bytes(inbound.head.method()).map_err(|_| ClientError::Method)?,
    };
    *request.headers_mut() = HeaderMap::with_capacity(inbound.head.len() + ADDED_UP);
    let fields = request.headers_mut();
    request_fields(fields, inbound, introduction);
    if switch.is_some() {
        fields.remove(KEY);
    } else if accepts_trailers(inbound.head) {
        fields.add(b"te", b"trailers");
    }
    Ok(request)
}

/// A final response as the client gets it. A `switch` is answered by 200.
pub(crate) fn response(
    head: &Head,
    envelope: &Envelope<'_>,
    switch: Option<&Switch<'_>>,
) -> Response<()> {
    let status = if switch.is_some() { 200 } else { head.status };
    let mut response = with_status(status);
    *response.headers_mut() = HeaderMap::with_capacity(head.len() + ADDED_DOWN);
    let fields = response.headers_mut();
    response_fields(fields, head, envelope);
    if switch.is_some() {
        fields.remove(ACCEPT);
    }
    response
}

/// An interim response (RFC 9110 §15.2).
pub(crate) fn interim(head: &Head) -> Response<()> {
    let mut response = with_status(head.status);
    interim_fields(response.headers_mut(), head);
    response
}

/// haldane's own answer.
pub(crate) fn own(status: u16, fields: impl FnOnce(&mut HeaderMap)) -> Response<()> {
    let mut response = with_status(status);
    fields(response.headers_mut());
    response
}

fn with_status(status: u16) -> Response<()> {
    let mut response = Response::new(());
    // What is no status was refused when it came.
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    response
}
