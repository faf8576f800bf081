//! What is in `deploy/` against the haldane that is here. `deploy/validate` asks the tools
//! of others about the rest.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use haldane_config::{Config, Overrides, Source, load};

use crate::peers::Certificate;
use crate::support::tls::Directory;
use crate::support::tools::run;

mod ci;
mod flags;
mod grafana;

/// What haldane needs to end after its drain, in seconds.
const MARGIN_S: u64 = 5;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A manifest of Kubernetes.
struct Manifest {
    name: String,
    text: String,
    /// The configuration in it, with certificates that are here.
    embedded: String,
}

/// The manifests, and the certificate that their configurations name, for one test.
fn manifests(test: &str) -> (Certificate, Vec<Manifest>) {
    let certificate = Certificate::new(test);
    let directory = root().join("deploy/kubernetes");
    let files = fs::read_dir(directory).expect("is readable");
    let manifests: Vec<_> = files
        .map(|file| file.expect("is readable").path())
        .map(|path| {
            let text = fs::read_to_string(&path).expect("is text");
            let embedded = embedded(&text)
                .replace("/certs/tls.crt", &certificate.cert())
                .replace("/certs/tls.key", &certificate.key());
            let name = path.display().to_string();
            Manifest {
                name,
                text,
                embedded,
            }
        })
        .collect();
    assert_eq!(manifests.len(), 3);
    (certificate, manifests)
}

/// The block of text under the key `haldane.toml`.
#[track_caller]
fn embedded(manifest: &str) -> String {
    let mut blocks = manifest.split("\n  haldane.toml: |\n").skip(1);
    let (Some(block), None) = (blocks.next(), blocks.next()) else {
        panic!("not one configuration in\n{manifest}");
    };
    let lines = block
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("    "));
    let text: Vec<&str> = lines.map(|line| line.get(4..).unwrap_or(line)).collect();
    assert!(text.len() > 5, "{text:?}");
    text.join("\n")
}

fn parsed(name: &str, text: &str) -> Config {
    let source = Source {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    match load(Some(&source), &Overrides::default()) {
        Ok(loaded) => loaded.config,
        Err(diagnostics) => panic!("{diagnostics}"),
    }
}

/// The seconds after `key` in each line that has it.
fn seconds(text: &str, key: &str) -> Vec<u64> {
    let values = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix(key));
    values
        .map(|value| value.trim_end_matches('s').parse().expect("seconds"))
        .collect()
}

#[track_caller]
fn assert_covers(grace_s: &[u64], config: &Config) {
    let drain = config.drain.linger + config.drain.timeout + Duration::from_secs(MARGIN_S);
    assert_eq!(grace_s.len(), 1);
    assert!(
        Duration::from_secs(grace_s[0]) >= drain,
        "{grace_s:?} s do not cover {drain:?}"
    );
}

/// Runs `haldane check` on this file.
#[track_caller]
fn check(name: &str, path: &str) {
    let ran = run(Command::new(env!("CARGO_BIN_EXE_haldane")).args(["check", path]));
    assert_eq!(ran.code, Some(0), "{name}: {}{}", ran.out, ran.err);
}

#[test]
fn every_configuration_passes_the_check() {
    let (certificate, manifests) = manifests("deploy-check");
    for manifest in manifests {
        let path = certificate.path("haldane.toml");
        fs::write(&path, manifest.embedded).expect("is writable");
        check(&manifest.name, &path);
    }
    for path in [
        "deploy/haldane.toml",
        "deploy/three-numbers.toml",
        "deploy/compose/config/haldane.toml",
        "deploy/compose/config/stack.toml",
    ] {
        check(path, &root().join(path).display().to_string());
    }
}

#[test]
fn three_numbers_are_a_whole_deployment() {
    use haldane_decide::gate::spec::GateRule;
    use haldane_decide::plan::Hold;

    let path = "deploy/three-numbers.toml";
    let config = parsed(path, &read(path));
    let route = &config.routes[0];
    let first = route.plan.steps()[0];
    assert_eq!(first.weight.to_string(), "5%");
    let ten_minutes = Hold::For {
        time: Duration::from_secs(600),
        requests: 0,
    };
    assert_eq!(first.hold, ten_minutes);
    let [errors, latency] = &route.gates[..] else {
        panic!("{:?}", route.gates)
    };
    assert!(matches!(errors.rule, GateRule::ErrorRate { .. }));
    assert!(matches!(latency.rule, GateRule::Latency { .. }));
}

#[test]
fn every_grace_period_covers_the_drain() {
    let (_certificate, manifests) = manifests("deploy-grace");
    for manifest in manifests {
        let grace_s = seconds(&manifest.text, "terminationGracePeriodSeconds: ");
        assert_covers(&grace_s, &parsed(&manifest.name, &manifest.embedded));
    }
    let unit = read("deploy/systemd/haldane.service");
    let config = parsed("deploy/haldane.toml", &read("deploy/haldane.toml"));
    assert_covers(&seconds(&unit, "TimeoutStopSec="), &config);
    for (services, path) in [
        ("compose.yaml", "deploy/compose/config/haldane.toml"),
        ("stack.yaml", "deploy/compose/config/stack.toml"),
    ] {
        let compose = read(&format!("deploy/compose/{services}"));
        assert_covers(
            &seconds(&compose, "stop_grace_period: "),
            &parsed(path, &read(path)),
        );
    }
}

#[test]
fn probes_ask_the_listener_that_is_configured() {
    let (_certificate, manifests) = manifests("deploy-probes");
    for Manifest {
        name,
        text,
        embedded,
    } in manifests
    {
        parsed(&name, &embedded);
        // The kubelet comes from outside.
        assert!(
            embedded.contains("[ops]\nlisten = \"0.0.0.0:7412\"\n"),
            "{embedded}"
        );
        let port = "{ name: ops, containerPort: 7412 }";
        assert!(text.contains(port), "{name}");
        for probe in ["/startupz", "/readyz", "/livez"] {
            let asked = format!("httpGet: {{ path: {probe}, port: ops }}");
            assert!(text.contains(&asked), "{name}: {probe}");
        }
        assert!(!text.contains("subPath:"), "{name}");
    }
}

#[test]
fn sockets_of_systemd_are_those_of_the_configuration() {
    let unit = read("deploy/systemd/haldane.socket");
    let sockets: BTreeSet<&str> = unit
        .lines()
        .filter_map(|line| line.strip_prefix("ListenStream="))
        .collect();
    let config = parsed("deploy/haldane.toml", &read("deploy/haldane.toml"));
    let listens: Vec<String> = config
        .listen
        .iter()
        .map(|listener| listener.address.to_string())
        .collect();
    assert_eq!(sockets, listens.iter().map(String::as_str).collect());
}

/// The instructions of the Dockerfile, each on one line.
fn instructions() -> Vec<(String, Vec<String>)> {
    let text = read("deploy/Dockerfile").replace("\\\n", " ");
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            (words.next().unwrap_or_default(), words.collect())
        })
        .collect()
}

/// The words of an instruction in the form of a JSON list.
fn list(instruction: &str) -> Vec<String> {
    let found = instructions()
        .into_iter()
        .find(|(name, _)| name == instruction)
        .unwrap_or_else(|| panic!("no {instruction}"));
    serde_json::from_str(&found.1.join(" ")).expect("is a JSON list")
}

#[test]
fn the_image_is_built_from_files_that_are_there_and_enough() {
    let ignored = read("deploy/Dockerfile.dockerignore");
    let allowed: Vec<&str> = ignored
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .collect();
    let mut copied = BTreeSet::new();
    for (name, words) in instructions() {
        if name != "COPY" || words[0].starts_with("--from") {
            continue;
        }
        for source in &words[..words.len() - 1] {
            assert!(root().join(source).exists(), "{source} is not there");
            assert!(allowed.contains(&source.as_str()), "{source} is ignored");
            copied.insert(source.clone());
        }
    }
    let allowed: BTreeSet<String> = allowed.into_iter().map(str::to_owned).collect();
    assert_eq!(allowed, copied, "what is let through is what is copied");
    // Cargo finds the whole workspace in the copies.
    let context = Path::new(env!("CARGO_TARGET_TMPDIR")).join("image");
    fs::create_dir_all(&context).expect("is writable");
    for source in &copied {
        let mut copy = Command::new("cp");
        copy.current_dir(root())
            .args(["-R", "--parents", "--", source]);
        let ran = run(copy.arg(&context));
        assert_eq!(ran.code, Some(0), "{}", ran.err);
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(&context);
    // What other systems would need is not there without a network.
    cargo.args(["tree", "--locked", "--offline", "--workspace"]);
    let ran = run(&mut cargo);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
}

#[test]
fn the_image_starts_with_its_configuration() {
    let entry = list("ENTRYPOINT");
    assert_eq!(entry, ["/usr/local/bin/haldane"]);
    let mut arguments = list("CMD");
    let shipped = instructions()
        .into_iter()
        .find(|(name, words)| name == "COPY" && words.last() == arguments.last())
        .expect("the configuration is copied to where it is read");
    // The addresses and the directory may be taken here; the rest is as in the image.
    let directory = Directory::new("image");
    let text = read(&shipped.1[0]).replace("/var/lib/haldane", &directory.path("state"));
    let path = directory.path("haldane.toml");
    fs::write(&path, text).expect("is writable");
    let last = arguments.len() - 1;
    arguments[last] = path;
    let mut image = Command::new(env!("CARGO_BIN_EXE_haldane"));
    image.args(arguments).args(["--listen", "127.0.0.1:0"]);
    image.args(["--admin-listen", "127.0.0.1:0"]);
    image.args(["--ops-listen", "127.0.0.1:0"]);
    let mut child = image.stderr(Stdio::piped()).spawn().expect("starts");
    let stderr = BufReader::new(child.stderr.take().expect("is piped"));
    let lines = stderr.lines().map_while(Result::ok);
    let listens = lines.into_iter().any(|line| line.contains("\"listening\""));
    child.kill().expect("can be ended");
    child.wait().expect("can be waited for");
    assert!(listens, "ended before it listened");
}

#[test]
fn the_unit_starts_what_the_image_starts() {
    let unit = read("deploy/systemd/haldane.service");
    let command = [list("ENTRYPOINT"), list("CMD")].concat().join(" ");
    assert!(unit.contains(&format!("\nExecStart={command}\n")), "{unit}");
}
