//! What an answer was asked to be: a form for the chain, and what the finished answer is held against.

use super::event::Finish;
use super::request::{Input, Request};
use crate::constraint::{Calls, Form, JsonForm, Validator};
use crate::llama::Token;
use crate::parameter::OutOfRange;
use crate::prompt::CallStyle;
use crate::steer::{Ends, Ensemble, Error};

/// The form of one answer.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub form: Option<Form>,
    /// How calls are written, where tools are offered, and the tools' names.
    pub calls: Option<(CallStyle, Vec<String>)>,
    /// Control tokens that are a part of the text, by their names.
    shown: Vec<(Token, &'static str)>,
    /// The answer so far, where it is to be a document.
    text: String,
}

impl Asked {
    /// Of a request whose tokens are chosen from the model of `lane`.
    pub fn new(ensemble: &Ensemble, request: &Request, lane: usize, ends: &Ends) -> Result<Self, Error> {
        let form = Form::of(&request.sampling);
        let toolbox = match &request.input {
            Input::Conversation(conversation) => conversation.tools.as_ref(),
            _ => None,
        };
        let Some(toolbox) = toolbox else {
            return Ok(Self { form, ..Self::default() });
        };
        if request.sampling.grammar.is_some() || matches!(form, Some(Form::Regex(_))) {
            let name = if request.sampling.grammar.is_some() { "grammar" } else { "regex" };
            return Err(OutOfRange::new(name, "given beside tools", "one of the two").into());
        }
        let answer = match form {
            Some(Form::Json(json)) => Some(json),
            _ => None,
        };
        let style = ensemble.loaded().call_style(request.sampled)?;
        let model = ensemble.model(lane);
        let marks = style.marks();
        let control = |name: &'static str| {
            let token = model.control_token(name).filter(|token| ends.can_be_told(*token))?;
            Some((token, name))
        };
        let names = [marks.trigger, marks.between].into_iter().filter(|name| !name.is_empty());
        let shown: Vec<_> = names.filter_map(control).collect();
        let named = shown.iter().map(|(token, name)| (*name, token.cast_unsigned())).collect();
        let names = toolbox.callable().map(|tool| tool.name.clone()).collect();
        let calls = Calls { toolbox: toolbox.clone(), style, named, answer };
        Ok(Self { form: Some(Form::Calls(calls)), calls: Some((style, names)), shown, text: String::new() })
    }

    /// The name of a control token that is a part of the text.
    pub fn name_of(&self, token: Token) -> Option<&'static str> {
        self.shown.iter().find(|(shown, _)| *shown == token).map(|(_, name)| *name)
    }

    /// Hears more of the answer.
    pub fn hear(&mut self, text: &str) {
        if matches!(self.form, Some(Form::Json(_))) {
            self.text.push_str(text);
        }
    }

    /// What there is to say of an answer that is over. `by_itself`: nothing cut it; `is_open`: its form demands more. An error
    /// where it is not what it was to be.
    pub fn judge(&self, finish: Finish, by_itself: bool, is_open: bool) -> Result<Option<String>, String> {
        if !by_itself {
            // Who stopped it knows.
            let is_cut = is_open && finish != Finish::Cancelled;
            return Ok(is_cut.then(|| "the answer is cut, and its form is not complete".to_owned()));
        }
        let Some(Form::Json(JsonForm { schema, is_lax })) = &self.form else { return Ok(None) };
        // A schema that the other program does not read is kept as far as the form knows.
        let Some(Err(words)) = Validator::new(schema).map(|validator| validator.check(&self.text)) else {
            return Ok(None);
        };
        let words = format!("the answer does not keep to its JSON schema: {words}");
        if *is_lax { Ok(Some(words)) } else { Err(words) }
    }
}
