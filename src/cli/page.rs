//! Pages for a browser, each one file that asks for nothing else.
//!
//! Words of models and files are text there: templates escape them, and a policy lets no script run but one whose hash a page
//! names.

use anyhow::Result;
use minijinja::{AutoEscape, Environment, Value, context};

const HEAD: &str = include_str!("page/head.html");
const STYLE: &str = include_str!("page/base.css");

/// A page. Its template begins with `{{ head }}`, which is made of `title`, `style`, and `script_hash` where there is a script.
pub fn render(template: &str, values: &Value) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    let base_style = Value::from_safe_string(STYLE.to_owned());
    let head = environment.render_str(HEAD, context! {base_style, ..values.clone()})?;
    Ok(environment.render_str(template, context! {head => Value::from_safe_string(head), ..values.clone()})?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pages_are_given_is_text() {
        let page = render("{{ head }}<b title=\"{{ title }}\">", &context! {title => "\"><script>'&"});
        let page = page.expect("it renders");
        assert!(page.ends_with("<b title=\"&quot;&gt;&lt;script&gt;&#x27;&amp;\">"), "{page}");
        assert!(!page.contains("<script") && !page.contains("script-src") && page.contains("color-scheme"), "{page}");
        let page = render("{{ head }}", &context! {script_hash => "x+="}).expect("it renders");
        assert!(page.contains("; script-src 'sha256-x+='; "), "{page}");
    }
}
