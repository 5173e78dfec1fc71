//! Look-ups of tokens that are not in the snapshot: a token may have been added since the last load. A look-up has a
//! deadline and a bounded number of threads, because the database may hang.

use super::Directory;
use crate::connection::control::Control;
use central::ports::Token;
use central::station::{Fact, TokenAnswer};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Concurrent look-ups; each holds a blocking thread while the database hangs.
pub(super) const LOOKUPS_MAX: usize = 8;

impl Directory {
    /// Looks up a token that is not in the snapshot, and sends the connection the answer, or that there is none within
    /// the deadline. `of_known` makes the answer about a token that was found.
    pub(crate) fn ask(
        self: &Arc<Self>,
        control: &Arc<Control>,
        question_id: u64,
        id: String,
        of_known: impl FnOnce(Token) -> TokenAnswer + Send + 'static,
    ) {
        let send = move |control: &Control, answer| {
            control.answer(Fact::Token {
                question_id,
                answer,
            });
        };
        if self.is_unavailable.load(Ordering::Relaxed) {
            send(control, TokenAnswer::CannotAsk);
            return;
        }
        let (directory, control) = (Arc::clone(self), Arc::clone(control));
        tokio::spawn(async move {
            let lookup = tokio::time::timeout(
                directory.lookup_timeout,
                Arc::clone(&directory).ask_source(id),
            );
            let answer = match lookup.await.unwrap_or(TokenAnswer::CannotAsk) {
                TokenAnswer::Known(token) => of_known(token),
                other => other,
            };
            send(&control, answer);
        });
    }

    async fn ask_source(self: Arc<Self>, id: String) -> TokenAnswer {
        let Ok(permit) = Arc::clone(&self.lookups).acquire_owned().await else {
            return TokenAnswer::CannotAsk;
        };
        let lookup = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            self.source.token(&id)
        });
        match lookup.await {
            Ok(Ok(Some(token))) => TokenAnswer::Known(token),
            Ok(Ok(None)) => TokenAnswer::Unknown,
            Ok(Err(_)) | Err(_) => TokenAnswer::CannotAsk,
        }
    }
}
