//! What is passed on, in both directions, and what is not.

use crate::support::proxy::Setup;
use crate::support::upstream::Upstream;

#[test]
fn a_request_reaches_its_upstream_and_the_answer_its_client() {
    let upstream = Upstream::named("stable");
    let proxy = Setup::stable(&upstream).start();
    let response = proxy.get("/a?b=c", &[]);
    assert_eq!((response.status, response.text().as_str()), (200, "stable"));
    assert_eq!(upstream.log.only().head.start, "GET /a?b=c HTTP/1.1");
}
