"use strict";

// Posts the form of the page as often as there is another one in the answer, and shows what that says.
(async () => {
    const page = () => document.getElementById("end-all");
    for (let form; (form = page().querySelector("form")); ) {
        try {
            const answer = await fetch(form.action, { method: "POST", body: new FormData(form) });
            const text = await answer.text();
            const next = new DOMParser().parseFromString(text, "text/html").getElementById("end-all");
            if (!answer.ok || answer.redirected || !next) throw new Error(String(answer.status));
            page().replaceWith(document.adoptNode(next));
        } catch {
            // The button is still there.
            document.getElementById("end-all-failed").hidden = false;
            return;
        }
    }
})();
