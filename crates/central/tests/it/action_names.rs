//! No module of this crate names an action, except those below `actions`, those that make commands (`operation`,
//! `local_list`, `status_request`), and `effect`, which knows what follows a command: all others use the action's row.

#![expect(clippy::expect_used, reason = "a test stops at what it did not expect")]

use ocpp::{Version, action};
use std::path::{Path, PathBuf};

#[test]
fn only_the_files_of_actions_and_operations_name_an_action() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut files = 0;
    for path in sources(&root) {
        files += 1;
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for version in Version::ALL {
            for info in action::all(version) {
                if code.contains(&format!("\"{}\"", info.name)) {
                    found.push(format!("{}: {}", path.display(), info.name));
                }
            }
        }
    }
    assert!(files > 20, "only {files} files were read");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The sources that may not name an action, without files that hold only tests.
fn sources(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                let name = path.file_name().and_then(|name| name.to_str());
                if !["actions", "operation", "effect", "local_list"]
                    .map(Some)
                    .contains(&name)
                {
                    folders.push(path);
                }
            } else if !path.ends_with("tests.rs") && path != root.join("status_request.rs") {
                files.push(path);
            }
        }
    }
    files
}
