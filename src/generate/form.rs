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
    held_against: Option<HeldAgainst>,
}

/// A schema, and the answer so far.
#[derive(Debug)]
struct HeldAgainst {
    validator: Option<Validator>,
    is_lax: bool,
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
            let held_against = form.as_ref().and_then(HeldAgainst::new);
            return Ok(Self { form, held_against, ..Self::default() });
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
        Ok(Self { form: Some(Form::Calls(calls)), calls: Some((style, names)), shown, held_against: None })
    }

    /// The name of a control token that is a part of the text.
    pub fn name_of(&self, token: Token) -> Option<&'static str> {
        self.shown.iter().find(|(shown, _)| *shown == token).map(|(_, name)| *name)
    }

    /// Hears more of the answer.
    pub fn hear(&mut self, text: &str) {
        if let Some(held_against) = &mut self.held_against {
            held_against.text.push_str(text);
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
        let Some(HeldAgainst { validator, is_lax, text }) = &self.held_against else { return Ok(None) };
        let checked = match validator {
            Some(validator) => validator.check(text),
            None => Ok(()),
        };
        match checked {
            Ok(()) => Ok(None),
            Err(words) if *is_lax => Ok(Some(format!("the answer does not keep to its JSON schema: {words}"))),
            Err(words) => Err(format!("the answer does not keep to its JSON schema: {words}")),
        }
    }
}

impl HeldAgainst {
    fn new(form: &Form) -> Option<Self> {
        let Form::Json(JsonForm { schema, is_lax }) = form else { return None };
        Some(Self { validator: Validator::new(schema), is_lax: *is_lax, text: String::new() })
    }
}
