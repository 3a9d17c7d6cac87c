//! The formats that models are tuned on, as their makers document them. The templates are written for these tests,
//! with the constructs that published ones use.

use super::*;

const TALK: [&str; 4] = ["system: Be brief.", "user: Hi", "assistant: Hello!", "user: Bye"];

const LLAMA_2: &str = "\
{%- if messages[0]['role'] == 'system' -%}
    {%- set rest = messages[1:] -%}
    {%- set opening = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' -%}
{%- else -%}
    {%- set rest = messages -%}
    {%- set opening = '' -%}
{%- endif -%}
{%- for message in rest -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{- raise_exception('user and assistant take turns') -}}
    {%- endif -%}
    {%- set text = opening ~ message['content'] if loop.first else message['content'] -%}
    {%- if message['role'] == 'user' -%}
        {{- bos_token + '[INST] ' + text.strip() + ' [/INST]' -}}
    {%- elif message['role'] == 'assistant' -%}
        {{- ' ' + text | trim + ' ' + eos_token -}}
    {%- endif -%}
{%- endfor -%}";

#[test]
fn llama_2() {
    check(
        LLAMA_2,
        &TALK,
        "<s>[INST] <<SYS>>\n⟨Be brief.⟩\n<</SYS>>\n\n⟨Hi⟩ [/INST] ⟨Hello!⟩ </s><s>[INST] ⟨Bye⟩ [/INST]",
    );
    check(LLAMA_2, &["user: Hi"], "<s>[INST] ⟨Hi⟩ [/INST]");
    let error = render(LLAMA_2, &["user: a", "user: b"]).expect_err("two users in a row");
    assert!(error.to_string().ends_with("user and assistant take turns"), "{error}");
}

#[test]
fn llama_3() {
    let source = "\
{% for message in messages %}
    {% set block = '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content | trim + '<|eot_id|>' %}
    {% if loop.first %}
        {% set block = bos_token + block %}
    {% endif %}
{{ block }}
    {%- endfor %}
{% if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
{% endif %}
";
    check(
        source,
        &TALK,
        "<s><|start_header_id|>system<|end_header_id|>\n\n⟨Be brief.⟩<|eot_id|>\
         <|start_header_id|>user<|end_header_id|>\n\n⟨Hi⟩<|eot_id|>\
         <|start_header_id|>assistant<|end_header_id|>\n\n⟨Hello!⟩<|eot_id|>\
         <|start_header_id|>user<|end_header_id|>\n\n⟨Bye⟩<|eot_id|>\
         <|start_header_id|>assistant<|end_header_id|>\n\n",
    );
}

#[test]
fn chat_ml() {
    let source = "\
{% if messages[0].role != 'system' %}
    {{- '<|im_start|>system\\nYou help.<|im_end|>\\n' -}}
{% endif %}
{% for message in messages %}
<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}
{% if add_generation_prompt is defined and add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' -}}
{% endif %}
";
    check(
        source,
        &TALK,
        "<|im_start|>system\n⟨Be brief.⟩<|im_end|>\n<|im_start|>user\n⟨Hi⟩<|im_end|>\n\
         <|im_start|>assistant\n⟨Hello!⟩<|im_end|>\n<|im_start|>user\n⟨Bye⟩<|im_end|>\n<|im_start|>assistant\n",
    );
    check(
        source,
        &["user: Hi"],
        "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\n⟨Hi⟩<|im_end|>\n<|im_start|>assistant\n",
    );
}

const GEMMA: &str = "\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {{- raise_exception('System role not supported') }}
{%- endif %}
{%- set ns = namespace(n=0) %}
{%- for message in messages %}
    {%- if (message.role == 'user') != (ns.n % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}
    {%- set ns.n = ns.n + 1 %}
    {%- set name = 'model' if message.role == 'assistant' else message.role %}
    {{- '<start_of_turn>' ~ name ~ '\\n' ~ message.content | trim ~ '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<start_of_turn>model\\n' }}
{%- endif %}";

#[test]
fn gemma() {
    check(
        GEMMA,
        &TALK[1..],
        "<s><start_of_turn>user\n⟨Hi⟩<end_of_turn>\n<start_of_turn>model\n⟨Hello!⟩<end_of_turn>\n\
         <start_of_turn>user\n⟨Bye⟩<end_of_turn>\n<start_of_turn>model\n",
    );
    check(GEMMA, &TALK[..2], "<s><start_of_turn>user\n⟨Be brief.\n\nHi⟩<end_of_turn>\n<start_of_turn>model\n");
    let error = render(GEMMA, &["system: S", "user: a", "user: b"]).expect_err("two users in a row");
    assert!(error.to_string().ends_with("Roles must alternate"), "{error}");
}

/// The system message stands before the last user message.
fn mistral(open: &str, space: &str) -> String {
    format!(
        "{}{open}{}{space}{}",
        "\
{%- if messages[0].role == 'system' %}
    {%- set system = messages[0].content %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set turns = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in turns %}
    {%- if message.role == 'user' %}
        {%- if loop.last and system is defined %}
            {{- '",
        "' + system + '\\n\\n' + message.content + '[/INST]' }}
        {%- else %}
            {{- '[INST] ' + message.content + '[/INST]' }}
        {%- endif %}
    {%- elif message.role == 'assistant' %}
        {{- '",
        "' + message.content + eos_token }}
    {%- else %}
        {{- raise_exception('only user, assistant and a first system message') }}
    {%- endif %}
{%- endfor %}"
    )
}

#[test]
fn mistral_v1_and_v3() {
    let v1 = mistral("[INST] ", " ").replace("+ '[/INST]'", "+ ' [/INST]'");
    check(&v1, &TALK, "<s>[INST] ⟨Hi⟩ [/INST] ⟨Hello!⟩</s>[INST] ⟨Be brief.⟩\n\n⟨Bye⟩ [/INST]");
    let v3 = mistral("[INST]", "").replace("'[INST] '", "'[INST]'");
    check(&v3, &TALK, "<s>[INST]⟨Hi⟩[/INST]⟨Hello!⟩</s>[INST]⟨Be brief.⟩\n\n⟨Bye⟩[/INST]");
}

#[test]
fn phi_3() {
    let source = "\
{% for message in messages %}
    {% if message['role'] in ('system', 'user', 'assistant') %}
        {{- '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' -}}
    {% endif %}
{% endfor %}
{{- '<|assistant|>\\n' if add_generation_prompt else eos_token }}";
    check(
        source,
        &TALK,
        "<|system|>\n⟨Be brief.⟩<|end|>\n<|user|>\n⟨Hi⟩<|end|>\n<|assistant|>\n⟨Hello!⟩<|end|>\n\
         <|user|>\n⟨Bye⟩<|end|>\n<|assistant|>\n",
    );
}

#[test]
fn zephyr() {
    let source = "\
{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}";
    check(
        source,
        &TALK,
        "<|system|>\n⟨Be brief.⟩</s>\n<|user|>\n⟨Hi⟩</s>\n<|assistant|>\n⟨Hello!⟩</s>\n<|user|>\n⟨Bye⟩</s>\n<|assistant|>\n",
    );
}
