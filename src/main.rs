//! The `idvault` program: arguments, then the command.

fn main() -> std::process::ExitCode {
    idvault::cli::main()
}
