//! Builds this crate again when the files of the dashboard change, which are part of it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let dashboard = "../../dashboard";
    println!("cargo::rerun-if-changed={dashboard}/dist");
}
