//! URLs of things outside, and the files that go with them.

use std::path::{Path, PathBuf};

use super::tls;
use super::version::split_port;
use crate::file::{Table, Value};
use crate::report::{Finding, Report};
use crate::types::{
    Remote, RemoteUrl, Secret, URL_BYTES_MAX, Unusable, Url, read_token, read_token_again, read_url,
};
use crate::unit::{Kind, Misfit};

const URL: Kind = Kind {
    what: "a URL",
    example: "\"https://hooks.example.com/T000/B000\"",
    units: &[],
};
const PATH: Kind = Kind {
    what: "a path",
    example: "\"/run/secrets/webhook\"",
    units: &[],
};

const TOKEN_PATH: Kind = Kind {
    what: "a path",
    example: "\"/run/secrets/token\"",
    units: &[],
};

/// `url` or `url_file`, `token_file` and `ca` of a table.
pub(super) fn remote(table: &Table<'_>, report: &mut Report) -> Option<Remote> {
    let written = table.read(report, "url", None, |value, report| {
        written_url(value, report).map(Some)
    });
    let file = table.read(report, "url_file", None, |value, report| {
        url_file(value, report).map(Some)
    });
    let token_file = table.read(report, "token_file", None, |value, report| {
        token_file(value, report).map(Some)
    });
    let ca = tls::optional_file(table, "ca", report);
    // What is written counts here, or a value that is wrong would also be missing.
    match (table.get("url"), table.get("url_file")) {
        (Some(_), Some(second)) => {
            let finding = Finding::new("`url` and `url_file` are two places for one URL");
            return second.reject(report, finding.hint("remove one of them"));
        }
        (None, None) => {
            table.require(report, "url", URL.example);
            return None;
        }
        (Some(_), None) | (None, Some(_)) => {}
    }
    let url = match written? {
        Some(url) => RemoteUrl::Written(url),
        None => file?.map(|(path, first)| RemoteUrl::File { path, first })?,
    };
    if let Some(value) = table.get("ca")
        && !url.first().tls
    {
        let finding = Finding::new("the URL does not begin with \"https://\"");
        return value.reject(report, finding.hint("use TLS, or remove this key"));
    }
    Some(Remote {
        url,
        token_file: token_file?,
        ca: ca?,
    })
}

/// Unlike others, this value is not quoted: its path may be a secret.
fn written_url(value: &Value<'_>, report: &mut Report) -> Option<Url> {
    match url(value.text(report, &URL)?) {
        Ok(url) => Some(url),
        Err(misfit) => {
            let finding = Finding::new(format!("this is not a URL to use: {}", misfit.reason));
            value.reject(report, finding.allowed(URL.expected()))
        }
    }
}

fn url_file(value: &Value<'_>, report: &mut Report) -> Option<(PathBuf, Url)> {
    let path = Path::new(value.text(report, &PATH)?);
    match read_url(path) {
        Ok(url) => Some((path.to_owned(), url)),
        Err(error) => unusable(value, report, error),
    }
}

fn token_file(value: &Value<'_>, report: &mut Report) -> Option<PathBuf> {
    token_of(value, report, read_token_again).map(|(_, path)| path)
}

/// The token in the file that `value` names, and the file.
pub(super) fn token(value: &Value<'_>, report: &mut Report) -> Option<(Secret, PathBuf)> {
    token_of(value, report, read_token)
}

fn token_of(
    value: &Value<'_>,
    report: &mut Report,
    read: impl FnOnce(&Path) -> Result<Secret, Unusable>,
) -> Option<(Secret, PathBuf)> {
    let path = Path::new(value.text(report, &TOKEN_PATH)?);
    match read(path) {
        Ok(token) => Some((token, path.to_owned())),
        Err(error) => unusable(value, report, error),
    }
}

fn unusable<T>(
    value: &Value<'_>,
    report: &mut Report,
    Unusable { what, why }: Unusable,
) -> Option<T> {
    let finding = Finding::new(what);
    let finding = match why {
        Some(why) => finding.allowed(why),
        None => finding,
    };
    value.reject(report, finding)
}

/// A URL of `http` or `https`. The reason of a misfit quotes nothing of it.
pub(crate) fn url(text: &str) -> Result<Url, Misfit> {
    let text = text.trim();
    if text.len() > URL_BYTES_MAX {
        return Err(Misfit::new(format!(
            "it is longer than {URL_BYTES_MAX} bytes"
        )));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(Misfit::new("it has no scheme, such as \"https://\""));
    };
    let tls = scheme.eq_ignore_ascii_case("https");
    if !tls && !scheme.eq_ignore_ascii_case("http") {
        return Err(Misfit::new("the scheme is neither \"http\" nor \"https\""));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if authority.contains('@') {
        return Err(Misfit::new(
            "it has a user or password: use `token_file` instead",
        ));
    }
    let (host, port) = split_port(authority, if tls { 443 } else { 80 })?;
    if !tail.bytes().all(is_in_target) {
        return Err(Misfit::new(
            "path or query have a character that must be percent-encoded, or a fragment",
        ));
    }
    let slash = if tail.starts_with('/') { "" } else { "/" };
    Ok(Url {
        tls,
        host: host.into(),
        port,
        target: Secret(format!("{slash}{tail}").into()),
    })
}

/// What paths and queries are written with (RFC 3986, 3.3 and 3.4), and brackets, which
/// all take.
fn is_in_target(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_what_they_say_and_show_no_path() {
        for (text, shown, target) in [
            (
                "https://hooks.example.com/T0/B1?x=[y]",
                "https://hooks.example.com",
                "/T0/B1?x=[y]",
            ),
            (" HTTP://Host:443\n", "http://host:443", "/"),
            ("https://[::1]:8443?q", "https://[::1]:8443", "/?q"),
            ("http://10.0.0.1:80/", "http://10.0.0.1", "/"),
        ] {
            let url = url(text).unwrap();
            assert_eq!((url.to_string().as_str(), &*url.target.0), (shown, target));
            assert_eq!(format!("{url:?}"), format!("{shown}/…"));
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_quoting_it() {
        for text in [
            "",
            "hooks.example.com/s3cret",
            "ftp://a/s3cret",
            "http://u:s3cret@a/",
            "http://a:0/s3cret",
            "http:///s3cret",
            "http://a/s3cret#x",
            "http://a/s3 cret",
            "http://a/s3cret\u{e9}",
            "http://-s3cret-/",
        ] {
            let misfit = url(text).unwrap_err();
            assert!(!misfit.reason.contains("s3"), "{text}: {misfit:?}");
        }
        assert!(url(&format!("http://a/{}", "x".repeat(URL_BYTES_MAX))).is_err());
    }
}
