//! Lines on stdout. `println!` panics if the reader has closed the pipe (`wattpost charger list | head`), and then a
//! change that is made would look like a failure.

use std::fmt::Arguments;
use std::io::{self, Write};

/// Writes a line to stdout; a reader that has closed the pipe is no error. If the output cannot be written, the process
/// ends with exit code 1, so that a full disk does not look like a complete list.
pub(crate) fn write_line(text: Arguments<'_>) {
    try_write_line(text);
}

/// As [`write_line`]; returns whether the line was written: false if the reader has closed the pipe.
pub(crate) fn try_write_line(text: Arguments<'_>) -> bool {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}") {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => false,
        Err(error) => {
            eprintln!("wattpost: write to stdout: {error}");
            std::process::exit(1);
        }
    }
}

/// As `println!`, through [`write_line`].
macro_rules! print_line {
    ($($text:tt)*) => {
        $crate::output::write_line(format_args!($($text)*))
    };
}
pub(crate) use print_line;
