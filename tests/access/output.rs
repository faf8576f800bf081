//! Where lines go: files that are moved, an output that nobody reads, another configuration.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::Command;

use super::{Access, lines_of, object};
use crate::reload::{File, metric, reload};
use crate::support::client::Client;
use crate::support::eventually::eventually;
use crate::support::proxy::Setup;
use crate::support::service::Process;
use crate::support::tools::{succeed, tool};
use crate::support::upstream::Upstream;

const DROPPED: &str = "haldane_access_log_dropped_total";

#[test]
fn a_file_that_is_moved_away_is_opened_anew_and_no_line_is_lost() {
    let stable = Upstream::named("stable");
    let access = Access::new("rotation");
    let proxy = access.start(&Setup::stable(&stable), "");
    let mut client = proxy.client();
    let mut asked = 0;
    client.get("/", &[]);
    access.lines(1);
    let old = access.0.path("access.log.1");
    fs::rename(access.path(), &old).expect("moves");
    eventually("there is a new file with lines", || {
        client.get("/", &[]);
        asked += 1;
        fs::metadata(access.path()).is_ok_and(|file| file.len() > 0)
    });
    eventually("all lines are written", || {
        let lines = |path: &str| fs::read_to_string(path).expect("is text").lines().count();
        lines(&old) + lines(&access.path()) == asked + 1
    });
    assert_eq!(metric(&proxy, DROPPED).as_deref(), Some("0"));
}

#[test]
fn the_last_lines_are_written_before_the_process_ends() {
    let stable = Upstream::named("stable");
    let access = Access::new("end");
    let mut proxy = access.start(&Setup::stable(&stable), "");
    let mut client = proxy.client();
    for _ in 0..100 {
        client.get("/", &[]);
    }
    drop(client);
    proxy.begin_drain();
    proxy.join();
    let text = fs::read_to_string(access.path()).expect("is text");
    assert_eq!(text.lines().count(), 100);
}

#[test]
fn two_processes_append_to_one_file() {
    let stable = Upstream::named("stable");
    let access = Access::new("shared");
    let setup = Setup::stable(&stable);
    let proxies = [access.start(&setup, ""), access.start(&setup, "")];
    std::thread::scope(|scope| {
        for proxy in &proxies {
            scope.spawn(move || {
                let mut client = proxy.client();
                for _ in 0..200 {
                    client.get("/", &[("user-agent", &"x".repeat(500))]);
                }
            });
        }
    });
    let lines = access.objects(400);
    assert!(lines.iter().all(|line| line["status"] == 200));
}

#[test]
fn a_reload_switches_it_on_and_off_and_changes_it() {
    let stable = Upstream::named("stable");
    let access = Access::new("reload");
    let (setup, other) = (Setup::stable(&stable), access.0.path("other.log"));
    let file = File::new("access", &setup);
    let proxy = file.start();
    let mut client = proxy.client();
    client.get("/unlogged", &[]);
    let put = |table: &str| {
        let changes = reload(&proxy, &file, &setup.clone().table(table));
        assert_eq!(changes, serde_json::json!(["log changed"]));
    };
    put(&access.table(""));
    client.get("/on", &[]);
    assert_eq!(access.objects(1)[0]["path"], "/on");

    // The same file in another form: the lines stay in order.
    put(&access.table("format = \"combined\""));
    client.get("/combined", &[]);
    assert!(access.lines(2)[1].contains("GET /combined"));

    put(&access.table("sample = 0\nalways = \"error\""));
    client.get("/unlogged", &[]);
    let elsewhere = access.table("").replace(&access.path(), &other);
    put(&elsewhere);
    client.get("/other", &[]);
    let lines = lines_of(Path::new(&other), 1);
    assert_eq!(object(&lines[0])["path"], "/other");

    put("");
    client.get("/unlogged", &[]);
    put(&access.table(""));
    client.get("/again", &[]);
    assert_eq!(object(&access.lines(3)[2])["path"], "/again");
    lines_of(Path::new(&other), 1);
}

#[test]
fn an_output_that_cannot_be_written_changes_nothing() {
    let stable = Upstream::named("stable");
    let access = Access::new("refused");
    let setup = Setup::stable(&stable).table(&access.table(""));
    let file = File::new("access-refused", &setup);
    let proxy = file.start();
    let missing = access.0.path("missing/access.log");
    file.write(&setup.text().replace(&access.path(), &missing));
    let (status, answer) = proxy.reload();
    assert_ne!(status, 200, "{answer}");
    assert!(
        answer
            .to_string()
            .contains("cannot write the access log to"),
        "{answer}"
    );
    proxy.get("/", &[]);
    access.lines(1);

    // And at the start nothing is started.
    let mut process = Process::start(Process::command(), &file.path);
    assert_eq!(process.code(), Some(1));
    assert!(
        process.log().contains("cannot write the access log to"),
        "{}",
        process.log()
    );
}

#[test]
fn an_output_that_nobody_reads_keeps_nobody_waiting() {
    let stable = Upstream::named("stable");
    let access = Access::new("blocked");
    let config = access.0.path("haldane.toml");
    let setup = Setup::stable(&stable).table("[log.access]\n");
    fs::write(&config, setup.text()).expect("writes");
    let fifo = access.0.path("fifo");
    succeed(tool("mkfifo", "coreutils").arg(&fifo));
    // Kept open, and never read from.
    let reader = OpenOptions::new().read(true).write(true).open(&fifo);
    let reader = reader.expect("opens");
    let haldane = Process::command();
    let mut command = Command::new("sh");
    command
        .env_clear()
        .args(["-c", &format!("exec \"$0\" \"$@\" > '{fifo}'")])
        .arg(haldane.get_program());
    let mut process = Process::start(command, Path::new(&config));
    let (data, admin) = process.addresses();
    let admin = admin.parse().expect("an address");
    let dropped = || {
        let mut client = Client::connect(admin);
        client.send(format!("GET /metrics HTTP/1.1\r\nhost: {admin}\r\n\r\n"));
        let text = client.answer_to("GET").text();
        let count = text.lines().find_map(|line| line.strip_prefix(DROPPED));
        count
            .and_then(|count| count.trim().parse::<u64>().ok())
            .expect("a count")
    };
    // Lines as long as they get, more than the ring and the pipe have room for.
    let (path, long) = (format!("/{}", "x".repeat(4000)), "x".repeat(4000));
    let fields = [("user-agent", &*long), ("referer", &*long)];
    let mut client = Client::connect(data);
    for _ in 0..1000 {
        assert_eq!(client.get(&path, &fields).status, 200);
    }
    assert!(dropped() > 0);
    assert_eq!(client.get("/", &[]).status, 200);
    drop(client);
    process.signal("TERM");
    assert_eq!(process.code(), Some(0));
    drop(reader);
}

#[test]
fn a_log_that_was_replaced_is_closed_while_sessions_go_on() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    let upstream = Upstream::scripted(move |mut connection| {
        while let Some(head) = connection.request() {
            if head.word(1) != "/session" {
                connection.wire.write("HTTP/1.1 204 No Content\r\n\r\n");
                continue;
            }
            connection.wire.write(switch);
            connection.wire.end();
            return;
        }
    });
    let access = Access::new("replaced");
    let (setup, other) = (Setup::stable(&upstream), access.0.path("other.log"));
    let file = File::new("access-replaced", &setup.clone().table(&access.table("")));
    let proxy = file.start();
    let mut session = proxy.client();
    let ask = "GET /session HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    session.send(ask);
    session.response_head().expect("is answered");
    let is_open = || {
        let open = fs::read_dir("/proc/self/fd").expect("is there");
        let paths = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        paths
            .into_iter()
            .any(|path| path == Path::new(&access.path()))
    };
    assert!(is_open());
    let table = access.table("").replace(&access.path(), &other);
    reload(&proxy, &file, &setup.table(&table));
    eventually("the old file is closed", || !is_open());
    // Its line goes where lines go now.
    session.wire.finish();
    session.wire.end();
    assert_eq!(
        object(&lines_of(Path::new(&other), 1)[0])["path"],
        "/session"
    );
    assert_eq!(fs::read_to_string(access.path()).expect("is there"), "");
}
