"""What each peer makes of a member that goes: a table."""

from markdown import row_name, table


def span(survivors, field):
    times = [survivor[field] for survivor in survivors]
    known = [time for time in times if time is not None]
    if not known:
        return "-"
    text = f"{min(known):.2f} - {max(known):.2f}"
    never = len(times) - len(known)
    return text + (f", {never} never" if never else "")


def outcome(scene, bound):
    outcomes = list(dict.fromkeys(survivor["outcome"] for survivor in scene["survivors"]))
    return ", ".join(f"hangs (watched {bound:g} s)" if name == "hangs" else name
                     for name in outcomes)


def first_words(scene):
    said = [survivor["error"] or survivor["how"] for survivor in scene["survivors"]]
    return next((words for words in said if words), "")[:100]


def outcomes(report):
    bound = report["parameters"]["bound_seconds"]
    rows = []
    for scene in report["scenes"]:
        if scene["failure"] is not None:
            rows.append((scene["scene"], row_name(scene), scene["failure"], "", "", ""))
            continue
        survivors = scene["survivors"]
        rows.append((scene["scene"], row_name(scene), span(survivors, "noticed_seconds"),
                     outcome(scene, bound), span(survivors, "goes_on_seconds"),
                     first_words(scene)))
    head = ("scene", "peer", "noticed, s", "the others", "next right result, s", "what it says")
    outage = report["parameters"]["outage_seconds"]
    return ("Seconds after the strike, first and last of the surviving members. kill: SIGKILL; "
            "stop: SIGSTOP; blackhole: the member's links drop everything; outage: the same, for "
            f"{outage:g} s.\n\n" + table(head, rows))
