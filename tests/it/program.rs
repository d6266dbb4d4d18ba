//! The compiled program, run to its end.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

/// What it says to these arguments and this input, without any configuration from outside.
pub(crate) fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_helmreboot"))
        .args(arguments)
        .env_remove("HELMREBOOT_TOKEN")
        .env_remove("HELMREBOOT_CONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("standard input");
    let input = input.to_vec();
    // It answers while it reads, so whoever only writes fills the pipe; one that refuses its arguments
    // does not read.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("the writer ends");
    output
}

/// What was printed.
pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}
