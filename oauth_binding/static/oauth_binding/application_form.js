// Keeps the line below the token settings of an application true to the choices in the form.
// Without JavaScript it tells what the saved choices do.
(function () {
    "use strict";

    function show() {
        var texts = JSON.parse(document.getElementById("token-binding-effects").textContent);
        var effect = document.getElementById("token-binding-effect");
        var tokenType = document.querySelector("[name=token_type]:checked");
        var bindingType = document.querySelector("[name=token_binding_type]");
        var required = document.querySelector("[name=require_binding]");
        if (!tokenType || !bindingType || !required) {
            return; // the form is read-only
        }
        var text = texts[[tokenType.value, bindingType.value, required.checked ? 1 : 0].join(" ")];
        // Only a change is announced by screen readers.
        if (text && effect.textContent !== text) {
            effect.textContent = text;
        }
    }

    document.addEventListener("DOMContentLoaded", function () {
        if (document.getElementById("token-binding-effects")) {
            document.addEventListener("change", show);
            show();
        }
    });
})();
