//! The verbs, one line each, and their exit codes.

use std::process::ExitCode;

/// Runs the verb.
#[must_use]
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let source = haldane_config::Source::read(std::path::Path::new(&args[3]));
    let source = match source {
        Ok(s) => s,
        Err(d) => {
            eprintln!("{d}");
            return ExitCode::from(78);
        }
    };
    let loaded = match haldane_config::load(Some(&source), &haldane_config::Overrides::default()) {
        Ok(l) => l,
        Err(d) => {
            eprintln!("{d}");
            return ExitCode::from(78);
        }
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let rt = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    rt.block_on(async {
        let app = crate::app::App::bind(loaded.config).unwrap();
        app.run(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await
        .unwrap();
    });
    ExitCode::SUCCESS
}
