//! What holds for every import of a table.

use crate::common::origin;
use central::import::{Outcome, Verdict};
use central::ports::{ChangeRequest, Idempotency, Once};
use central::query::{AuditFilter, PageRequest, QueryStore};

/// An import is applied once under its idempotency key, a repeat gets the same verdicts, and a refused import and a dry run
/// use up no key. `column` has the id of an object; `import` applies a file, or judges it as a dry run.
pub(crate) fn are_applied_once_under_their_key(
    store: &impl QueryStore,
    column: &str,
    import: impl Fn(&str, bool, &ChangeRequest) -> Once<Vec<Verdict>, Vec<Verdict>>,
) {
    let request = |key: &str, digest| ChangeRequest {
        idempotency: Some(Idempotency {
            key: key.to_owned(),
            digest: [digest; 32],
        }),
        ..ChangeRequest::of(origin())
    };
    let file = |lines: &str| format!("{column},group\n{lines}");
    let apply = |file: &str, request: &ChangeRequest| import(file, false, request);
    let (first, second) = (file("A1,G\nA2,\n"), file("A1,H\nA2,\n"));
    let Once::Refused(_) = apply(&file("A1,G\nA1,G\n"), &request("k", 3)) else {
        panic!("one object twice is refused");
    };
    let Once::Done(done) = apply(&first, &request("k", 1)) else {
        panic!("a refused import uses up no key");
    };
    let Once::Done(changed) = apply(&second, &request("k2", 2)) else {
        panic!("another key");
    };
    assert_eq!(changed[0].changes, ["group"]);
    assert_eq!(apply(&first, &request("k", 1)), Once::Repeated(done));
    assert_eq!(apply(&second, &request("k2", 2)), Once::Repeated(changed));
    let other = format!("{column}\nZ9\n");
    assert_eq!(apply(&other, &request("k", 4)), Once::Mismatch);
    let entries = store.audit(&AuditFilter::default(), &PageRequest::default());
    assert_eq!(entries.unwrap().items.len(), 3);
    let Once::Done(judged) = import(&first, true, &request("k", 1)) else {
        panic!("a dry run has no key");
    };
    assert_eq!(judged[0].outcome, Outcome::Updated);
}
