//! Values are kept small trees.
//!
//! The engine's fuel pays for instructions and new text, but printing, comparing and dropping a value walk it for free
//! and by recursion: a list that holds itself twice, sixty times over, would be walked for ever, and a namespace that
//! holds itself until the stack is full. Every value that gets a name therefore passes one of these filters, put there
//! by `gate`, and comes out as a plain tree of bounded size. A namespace holds such trees and no namespace, and a tree
//! holds few namespaces.

use minijinja::value::{DynObject, Kwargs, ObjectRepr, Tuple};
use minijinja::{Environment, Error, ErrorKind, State, Value, functions};

/// The filter behind a value that gets a name.
pub(super) const KEEP: &str = "__keep";
/// The filter behind a value that becomes an attribute of a namespace.
pub(super) const PUT: &str = "__put";
/// The filter behind a factor: numbers and strings pass.
pub(super) const SCALAR: &str = "__scalar";

const MAX_DEPTH: usize = 24;
/// A fuller budget (more messages) allows for larger values.
const FUEL_PER_NODE: u64 = 20;
/// Namespaces in one value. Each may grow to the largest size while the value is held.
const MAX_NAMESPACES: usize = 16;

pub(super) fn install(environment: &mut Environment<'static>) {
    environment.add_filter(KEEP, |state: &State, value: Value| match value.as_object() {
        Some(object) if is_namespace(object) => Ok(value),
        _ => copy(state, &value, MAX_NAMESPACES),
    });
    environment.add_filter(PUT, |state: &State, value: Value| copy(state, &value, 0));
    environment.add_filter(SCALAR, |value: Value| match value.as_object() {
        Some(_) => Err(invalid("lists cannot be multiplied")),
        None => Ok(value),
    });
    environment.add_function("namespace", namespace);
}

/// The engine's `namespace`, of values that went through [`copy`].
#[allow(clippy::needless_pass_by_value, reason = "the engine hands its arguments over")]
fn namespace(state: &mut State, values: Option<Value>, named: Kwargs) -> Result<Value, Error> {
    let mut pairs = Vec::new();
    if let Some(values) = values {
        let values = values.as_object().and_then(DynObject::try_iter_pairs);
        pairs.extend(values.ok_or_else(|| invalid("a namespace is made of names and values"))?);
    }
    for name in named.args() {
        pairs.push((Value::from(name), named.get(name)?));
    }
    let pairs = copy(state, &Value::from_pairs(pairs), 0)?;
    Value::from_function(functions::namespace).call(state, &[pairs])
}

/// A copy that holds no more than `n_namespaces` namespaces, which stay themselves.
fn copy(state: &State, value: &Value, n_namespaces: usize) -> Result<Value, Error> {
    let total = state.fuel_levels().map_or(0, |(consumed, remaining)| consumed + remaining);
    Copier { state, n_nodes: total / FUEL_PER_NODE, n_namespaces }.tree(value, MAX_DEPTH)
}

/// What may still go into a copy.
struct Copier<'a> {
    state: &'a State<'a, 'a>,
    n_nodes: u64,
    n_namespaces: usize,
}

impl Copier<'_> {
    fn tree(&mut self, value: &Value, depth: usize) -> Result<Value, Error> {
        let Some(object) = value.as_object() else {
            return Ok(value.clone());
        };
        if is_namespace(object) {
            let left = self.n_namespaces.checked_sub(1);
            self.n_namespaces = left.ok_or_else(|| invalid("a namespace cannot be inside of this value"))?;
            return Ok(value.clone());
        }
        if object.repr() == ObjectRepr::Plain || is_macro(object) {
            return Ok(value.clone());
        }
        if depth == 0 {
            return Err(invalid("the value is nested too deeply"));
        }
        if object.repr() == ObjectRepr::Map {
            let pairs = object.try_iter_pairs().into_iter().flatten();
            return pairs
                .map(|(key, value)| Ok((self.node(&key, depth)?, self.node(&value, depth)?)))
                .collect::<Result<Vec<_>, _>>()
                .map(Value::from_pairs);
        }
        let items = value.try_iter()?.map(|item| self.node(&item, depth));
        let items = items.collect::<Result<Vec<_>, _>>()?;
        Ok(if value.is_tuple() { Value::from(Tuple::from(items)) } else { Value::from(items) })
    }

    /// An item of a value at `depth`.
    fn node(&mut self, value: &Value, depth: usize) -> Result<Value, Error> {
        self.n_nodes = self.n_nodes.checked_sub(1).ok_or(ErrorKind::OutOfFuel)?;
        self.state.consume_fuel(1)?;
        self.tree(value, depth - 1)
    }
}

fn is_namespace(object: &DynObject) -> bool {
    object.type_name().ends_with("::Namespace")
}

/// Macros, and the bodies of `call` blocks: a name and a place in the template.
fn is_macro(object: &DynObject) -> bool {
    object.type_name().ends_with("::Macro")
}

fn invalid(why: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, why)
}
