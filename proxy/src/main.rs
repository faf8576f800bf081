//! Arguments in, exit code out.

/// A request over HTTP/2 takes about a dozen pieces of memory, a call forty; see `bench/NOTES.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    haldane::cli::main()
}
