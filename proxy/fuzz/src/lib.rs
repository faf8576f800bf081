//! What several targets need.

/// The values of all fields of this name.
#[must_use]
pub fn values<'a>(fields: &'a [(Vec<u8>, Vec<u8>)], name: &str) -> Vec<&'a [u8]> {
    let fields = fields.iter();
    fields
        .filter(|(own, _)| own.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, value)| &value[..])
        .collect()
}

/// A method or the name of a field (RFC 9110 §5.6.2).
#[must_use]
pub fn is_token(text: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_part)
}

/// A configuration that is part of a target, which only says what matters there.
///
/// # Panics
///
/// If it cannot be used.
#[must_use]
pub fn config(text: &str) -> haldane_config::Config {
    let source = haldane_config::Source {
        name: "haldane.toml".to_owned(),
        text: format!("listen = \"127.0.0.1:8080\"\n{text}"),
    };
    match haldane_config::load(Some(&source), &haldane_config::Overrides::default()) {
        Ok(loaded) => loaded.config,
        Err(diagnostics) => panic!("{diagnostics}"),
    }
}

/// What a future gives that waits for nothing but itself, or for time.
///
/// # Panics
///
/// If there is no runtime to be had.
pub fn wait_for<T>(future: impl std::future::Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => panic!("{error}"),
    }
}
