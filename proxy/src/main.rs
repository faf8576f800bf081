//! Arguments in, exit code out.

fn main() -> std::process::ExitCode {
    haldane::cli::main()
}
