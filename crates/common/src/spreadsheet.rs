//! Texts in CSV files that a spreadsheet opens. A charger chooses many of these texts, and a spreadsheet runs some texts
//! as formulas.

use std::borrow::Cow;

/// The text as a spreadsheet shows it: what it would run as a formula gets a `'` before it. Numbers stay numbers. A text
/// that already looks like the result gets another `'`, so that each result stands for one text.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    let is_formula = text
        .trim_start_matches('\'')
        .starts_with(['=', '+', '-', '@', '\t', '\r'])
        && text.parse::<f64>().is_err();
    if is_formula {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn formulas_get_a_quotation_mark_and_numbers_do_not() {
        for text in ["=1+1", "+a", "-a", "@a", "\t=1", "\r=1", "'=1", "'-1"] {
            assert_eq!(escaped(text), format!("'{text}"));
        }
        for text in ["", "a", "-1.5", "+7", "CP-1", "'a"] {
            assert_eq!(escaped(text), text);
        }
    }
}
