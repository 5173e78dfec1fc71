//! Which older programs can use a schema.
//!
//! An upgrade changes the schema while processes of the version before run, and if the new program fails they must go on.
//! So a migration notes in the database the oldest version of the schema that a program may know to use the new one. A
//! program that finds a newer schema than its own uses it if it knows that version, and refuses it otherwise.

/// The oldest version of the schema that a program may know to use the newest one: it can read it, and what it writes is
/// complete for newer programs. A migration that only adds tables, indexes, and columns with a default leaves this as it is;
/// any other raises it to its own number. Programs that know a schema below 27 do not read the note.
pub const SCHEMA_USABLE_FROM: u32 = 27;

/// The name in `settings` of the note about this version of the schema. Each version has its own: the notes of another
/// database, which a replay copies, say nothing false.
pub(crate) fn note_name(version: u32) -> String {
    format!("schema_{version}_usable_from")
}

/// Whether a program that knows the schema up to `known` may use a newer one with this note.
pub(crate) fn is_usable(known: u32, note: Option<i64>) -> bool {
    note.is_some_and(|from| from > 0 && from <= i64::from(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_schema_is_usable_if_its_note_names_a_version_that_the_program_knows() {
        assert!(is_usable(27, Some(27)) && is_usable(30, Some(27)));
        assert!(!is_usable(27, Some(28)) && !is_usable(27, None));
        assert!(!is_usable(27, Some(0)), "not a note of ours");
    }
}
