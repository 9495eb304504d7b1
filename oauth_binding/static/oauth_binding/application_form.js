// Keeps the lines that say what the settings of an application do true to the choices in the form.
// Without JavaScript they tell what the saved choices do.
(function () {
    "use strict";

    // The texts are beside each line, by the values of these fields.
    var LINES = {
        "token-binding-effect": ["token_type", "token_binding_type", "token_policy-0-require_binding"],
        "presented-binding-effect": ["token_policy-0-require_presented_binding", "token_binding_type"],
        "sender-constraint-effect": [
            "token_policy-0-sender_constraint",
            "token_policy-0-require_sender_constraint",
            "token_binding_type",
        ],
        // Of these, whether there is anything.
        "audiences-effect": ["token_policy-0-allowed_audiences", "token_policy-0-default_audiences"],
        "device-limit-effect": ["token_policy-0-device_limit_action", "token_binding_type"],
        "logout-effect": ["token_policy-0-revoke_on_logout", "token_binding_type"],
    };

    function value(name) {
        var field = document.querySelector('[name="' + name + '"]');
        if (!field) {
            return null; // the form is read-only
        }
        if (field.type === "textarea") {
            return field.value.trim() ? "1" : "0";
        }
        if (field.type === "radio") {
            field = document.querySelector('[name="' + name + '"]:checked');
        }
        return field && field.value;
    }

    function show(id) {
        var line = document.getElementById(id);
        var texts = document.getElementById(id + "s");
        if (!line || !texts) {
            return;
        }
        var text = JSON.parse(texts.textContent)[LINES[id].map(value).join(" ")];
        // Only a change is announced by screen readers.
        if (text && line.textContent !== text) {
            line.textContent = text;
        }
    }

    function showAll() {
        Object.keys(LINES).forEach(show);
    }

    document.addEventListener("DOMContentLoaded", function () {
        document.addEventListener("change", showAll);
        showAll();
    });
})();
