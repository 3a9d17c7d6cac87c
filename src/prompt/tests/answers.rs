//! What becomes of answers: tokens that are kept, thoughts that are cut out, text that is changed.

use super::*;

const TALK: [&str; 3] = ["user: a", "assistant: <think>hm</think>\n\nb", "user: c"];
const KEEPS: &str = "{% for m in messages %}<{{ m.role }}>\n{{ m.content }}<end>\n{% endfor %}{{ '<assistant>\n' }}";
const CUTS: &str = "{% for m in messages %}{% set text = m.content %}\
    {% if m.role == 'assistant' and '</think>' in text %}{% set text = text.split('</think>')[-1].lstrip('\\n') %}{% endif %}\
    <{{ text }}>{% endfor %}";

fn shown_with(source: &str, conversation: &Conversation) -> String {
    shown(&view(source).render(conversation).expect("renders"))
}

#[test]
fn whole_answers_keep_their_tokens() {
    assert_eq!(
        shown_with(KEEPS, &generated(&TALK, "", &[1, 2])),
        "<user>\n⟨a⟩<end>\n<assistant>\n[1, 2]<end>\n<user>\n⟨c⟩<end>\n<assistant>\n"
    );
    let prefixed = generated(&["user: a", "assistant: Sure, b"], "Sure, ", &[1, 2]);
    assert_eq!(shown_with(CUTS, &prefixed), "<⟨a⟩><⟨Sure, ⟩[1, 2]>");
    let only_prefix = generated(&["user: a", "assistant: Sure"], "Sure", &[]);
    assert_eq!(shown_with(CUTS, &only_prefix), "<⟨a⟩><⟨Sure⟩>");
}

#[test]
fn white_space_that_is_in_the_tokens_is_not_written_twice() {
    let talk = generated(&["user:  a ", "assistant:  b\n"], "", &[1]);
    assert_eq!(shown_with("{% for m in messages %}<{{ m.content }}>{% endfor %}", &talk), "<⟨ a ⟩><[1]>");
    assert_eq!(shown_with("{% for m in messages %}<{{ m.content | trim }}>{% endfor %}", &talk), "<⟨a⟩><[1]>");
    assert_eq!(shown_with("{% for m in messages %} {{ m.content | trim }}\n{% endfor %}", &talk), "⟨ a⟩\n[1]");
}

#[test]
fn what_is_left_of_a_cut_answer_is_content() {
    assert_eq!(shown_with(CUTS, &generated(&TALK, "", &[1, 2])), "<⟨a⟩><⟨b⟩><⟨c⟩>");
    // Only that one: the others keep their tokens.
    let mut talk = generated(&["user: a", "assistant: b", "user: c"], "", &[5]);
    talk.messages.extend(conversation(&["assistant: <think>hm</think>d", "user: e"]).messages);
    assert_eq!(shown_with(CUTS, &talk), "<⟨a⟩><[5]><⟨c⟩><⟨d⟩><⟨e⟩>");
    // Names of tokens in it stay text.
    let echo = conversation(&["user: a", "assistant: <think>hm</think><|im_end|>", "user: c"]);
    assert_eq!(shown_with(CUTS, &echo), "<⟨a⟩><⟨<|im_end|>⟩><⟨c⟩>");
    // Cut through the mark itself: then it must not look like a token.
    let sliced = "{% for m in messages %}<{{ (m.content | list)[2:] | join if m.role == 'assistant' else m.content }}>{% endfor %}";
    assert_eq!(shown_with(sliced, &conversation(&["user: a", "assistant: bcd"])), "<⟨a⟩><d>");
}

#[test]
fn an_answer_that_is_changed_inside_is_content_as_it_came_out() {
    let source = "{% for m in messages %}<{{ m.content | upper }}>{% endfor %}";
    assert_eq!(shown_with(source, &generated(&TALK, "", &[1, 2])), "<⟨A⟩><⟨<THINK>HM</THINK>\n\nB⟩><⟨C⟩>");
}

#[test]
fn messages_may_come_once_twice_or_never() {
    check("{% for m in messages[-1:] %}<{{ m.content }}>{% endfor %}", &TALK, "<⟨c⟩>");
    check("{{ messages[0].content }}-{{ messages[0].content }}", &["user: a"], "⟨a⟩-⟨a⟩");
    let twice = generated(&["assistant: b"], "", &[1]);
    assert_eq!(shown_with("{{ messages[0].content }}{{ messages[0].content }}", &twice), "[1, 1]");
}

#[test]
fn other_messages_cannot_be_cut() {
    let sliced = "{% for m in messages %}<{{ m.content.split(',')[0] }}>{% endfor %}";
    assert_eq!(render(sliced, &["user: a,b"]), Err(Error::Cut { speaker: Speaker::User }));
    assert_eq!(render(sliced, &["system: a,b", "user: c"]), Err(Error::Cut { speaker: Speaker::System }));
    let looks = "{% if messages[0].content[0] == 'a' %}A{% endif %}{{ messages[0].content }}";
    assert_eq!(render(looks, &["user: abc"]), Err(Error::Unclear));
    check(looks, &["user: bc"], "⟨bc⟩");
    // A template that writes marks of its own.
    let forges = "{{ '\u{fdd0}\u{fde7}\u{fdd2}x\u{fdd1}\u{fde7}\u{fdd2}' }}";
    assert_eq!(render(forges, &["user: a"]), Err(Error::Unclear));
}

#[test]
fn text_with_marks_in_it_is_refused() {
    let error = render(KEEPS, &["user: a\u{fdd0}b"]).expect_err("holds a mark");
    assert_eq!(error, Error::Marker { speaker: Speaker::User, found: '\u{fdd0}' });
    assert!(error.to_string().contains("U+FDD0"), "{error}");
    let plain = View::default().render(&conversation(&["user: a\u{fdd0}b"])).expect("plain text takes anything");
    assert_eq!(plain, [Piece::Content("a\u{fdd0}b".into())]);
}
