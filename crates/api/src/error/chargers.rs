//! Chargers, tokens and local authorization lists.

use super::kinds::{
    CHARGER_EXISTS, LOCAL_LIST_KEPT, NO_ROTATION, NOT_LISTED_TOKEN, ROTATION_OPEN, SITE_EXISTS,
    SITE_HAS_CHARGERS, TOO_MANY_SITES, UNKNOWN_CHARGER, UNKNOWN_HANDSHAKE, UNKNOWN_LOCAL_LIST,
    UNKNOWN_SITE, UNKNOWN_TOKEN,
};
use super::{ApiError, quoted};
use central::model::CommandId;

impl ApiError {
    pub(crate) fn unknown_charger(id: &str) -> Self {
        Self::new(
            &UNKNOWN_CHARGER,
            format!("No charger is known by the identity {}.", quoted(id)),
        )
    }

    /// The operator has removed the charger.
    pub(crate) fn removed_charger(id: &str) -> Self {
        Self::new(
            &UNKNOWN_CHARGER,
            format!(
                "The charger {} was removed; add it again with POST /api/v1/chargers.",
                quoted(id)
            ),
        )
    }

    /// The operator has not added the charger, although it may have connected.
    pub(crate) fn not_added(id: &str) -> Self {
        Self::new(
            &UNKNOWN_CHARGER,
            format!(
                "No charger with the identity {} was added, so it has no settings; add it with POST /api/v1/chargers.",
                quoted(id)
            ),
        )
    }

    pub(crate) fn local_list_kept(charger: &str) -> Self {
        Self::new(
            &LOCAL_LIST_KEPT,
            format!(
                "A wish for a local list holds for the charger {}, so its list is kept equal to the tokens; change the \
                 tokens, or remove the wish (DELETE /api/v1/local-lists/{{charger}} or /api/v1/local-list-default).",
                quoted(charger)
            ),
        )
    }

    pub(crate) fn rotation_open(id: &str, command: CommandId) -> Self {
        Self::new(
            &ROTATION_OPEN,
            format!(
                "The change of the password of {} by the command {command} is not decided; wait for the charger's next \
                 log-in, or set the password that the charger has with PATCH /api/v1/chargers/{{id}}.",
                quoted(id)
            ),
        )
    }

    pub(crate) fn rotation_sent(id: &str) -> Self {
        Self::new(
            &ROTATION_OPEN,
            format!(
                "The new password of {} was sent, so the charger may have it; its next log-in decides, or set the password \
                 that the charger has with PATCH /api/v1/chargers/{{id}}.",
                quoted(id)
            ),
        )
    }

    pub(crate) fn no_rotation(id: &str) -> Self {
        Self::new(
            &NO_ROTATION,
            format!(
                "No change of the password of {} waits; begin one with PUT /api/v1/chargers/{{id}}/password.",
                quoted(id)
            ),
        )
    }

    pub(crate) fn unknown_handshake(no: &str) -> Self {
        Self::new(
            &UNKNOWN_HANDSHAKE,
            format!(
                "No refused handshake is known by the number {}.",
                quoted(no)
            ),
        )
    }

    pub(crate) fn not_listed_token(key: &str) -> Self {
        Self::new(
            &NOT_LISTED_TOKEN,
            format!(
                "The list of unknown tokens does not have the key {}; read it with GET /api/v1/unknown-tokens.",
                quoted(key)
            ),
        )
    }

    pub(crate) fn unknown_token(id: &str) -> Self {
        Self::new(
            &UNKNOWN_TOKEN,
            format!(
                "The token {} was not added; add it with PUT /api/v1/tokens/{{id}}.",
                quoted(id)
            ),
        )
    }

    pub(crate) fn unknown_local_list(charger_id: &str) -> Self {
        Self::new(
            &UNKNOWN_LOCAL_LIST,
            format!(
                "There is no wish for the local list of {}; set one with PUT /api/v1/local-lists/{{charger}}.",
                quoted(charger_id)
            ),
        )
    }

    pub(crate) fn charger_exists(id: &str) -> Self {
        Self::new(
            &CHARGER_EXISTS,
            format!(
                "The charger {} was added before; change it with PATCH /api/v1/chargers/{{id}}.",
                quoted(id)
            ),
        )
    }

    pub(crate) fn unknown_site(id: &str) -> Self {
        let detail = format!(
            "No site has the id {}; GET /api/v1/sites shows all.",
            quoted(id)
        );
        Self::new(&UNKNOWN_SITE, detail)
    }

    pub(crate) fn site_exists(id: &str) -> Self {
        Self::new(
            &SITE_EXISTS,
            format!(
                "The site {} exists; choose another id, or change it with PATCH /api/v1/sites/{{id}}.",
                quoted(id)
            ),
        )
    }

    pub(crate) fn site_has_chargers(id: &str, count: u64) -> Self {
        Self::new(
            &SITE_HAS_CHARGERS,
            format!(
                "Chargers belong to the site {}: {count}. Give them another site, or null, first; GET /api/v1/chargers?site={id} \
                 shows them.",
                quoted(id)
            ),
        )
    }

    pub(crate) fn too_many_sites() -> Self {
        Self::new(
            &TOO_MANY_SITES,
            format!(
                "There are {} sites, which is the maximum; remove some (GET /api/v1/sites shows all).",
                central::model::SITES_MAX
            ),
        )
    }
}
