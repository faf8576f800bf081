//! Whoever waits is told.

use super::*;

#[test]
fn a_long_poll_answers_when_something_happens_to_the_route() {
    let walk = Walk::start("steps = [\"5% for 1h\", \"100%\"]");
    let status = walk.until("progressing");
    let seq = status["seq"].as_u64().unwrap();
    let mut waiting = Client::connect(walk.proxy.admin_address);
    waiting.send(format!(
        "GET /v1/routes/default?wait={seq} HTTP/1.1\r\nhost: {}\r\n\r\n",
        walk.proxy.admin_address
    ));
    assert!(!waiting.wire.has_more(std::time::Duration::from_millis(200)));
    waiting.wire.patience(crate::support::eventually::PATIENCE);
    walk.command("pause", &json!({}));
    let answer = waiting.answer_to("GET");
    let answer: Value = serde_json::from_slice(&answer.body.bytes).unwrap();
    assert_eq!(answer["phase"], "paused");
    // What has happened already is not waited for.
    let (_, again) = walk.proxy.admin(
        "GET",
        &format!("/v1/routes/default?wait={seq}"),
        &Value::Null,
    );
    assert_eq!(again["phase"], "paused");
    let (status, _) = walk
        .proxy
        .admin("GET", "/v1/routes/default?wait=soon", &Value::Null);
    assert_eq!(status, 400);
}

#[test]
fn a_stream_tells_events_as_they_happen_and_the_status_every_second() {
    let walk = Walk::start("steps = [\"5% for 1h\", \"100%\"]");
    walk.until("progressing");
    let mut client = Client::connect(walk.proxy.admin_address);
    client.send(format!(
        "GET /v1/stream?since=0 HTTP/1.1\r\nhost: {}\r\n\r\n",
        walk.proxy.admin_address
    ));
    let (head, status) = client.response_head().expect("an answer");
    assert_eq!(status, 200);
    assert_eq!(
        head.one("content-type").as_deref(),
        Some("text/event-stream")
    );
    let mut seen = String::new();
    let mut read_until = |wanted: &str| {
        while !seen.contains(wanted) {
            let more = client
                .wire
                .chunk()
                .expect("the stream goes on")
                .expect("it does not end");
            seen.push_str(&String::from_utf8_lossy(&more));
        }
    };
    read_until("retry: 1000");
    read_until("event: happened\nid: 1\ndata: {\"seq\":1");
    read_until("event: status\ndata: {\"schema\":\"haldane.status/1\"");
    walk.command("pause", &json!({ "reason": "lunch" }));
    read_until("lunch");
}
