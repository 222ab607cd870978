"""Vocabulary of the synthetic catalogue: word lists for titles, attributes and descriptions."""

GENRES: dict[str, tuple[str, ...]] = {
    "mystery": ("detective", "coroner", "locksmith", "night porter", "magistrate", "forger"),
    "space opera": ("navigator", "salvage pilot", "envoy", "terraformer", "stowaway", "cartographer of stars"),
    "romance": ("florist", "violin maker", "ferry captain", "letter writer", "pastry chef", "translator"),
    "horror": ("caretaker", "sexton", "radio operator", "taxidermist", "lodger", "sleepwalker"),
    "fantasy": ("hedge witch", "rune smith", "exiled heir", "dragon keeper", "oath breaker", "map maker"),
    "history": ("scribe", "cannoneer", "silk trader", "midwife", "shipwright", "court painter"),
    "comedy": ("bailiff", "wedding planner", "amateur conjurer", "mayor", "driving teacher", "understudy"),
    "crime": ("safe cracker", "fence", "informant", "getaway driver", "gambler", "smuggler"),
    "adventure": ("mountain guide", "bush pilot", "pearl diver", "botanist", "courier", "treasure hunter"),
    "science": ("glaciologist", "clock maker", "astronomer", "beekeeper", "surgeon", "code breaker"),
    "war": ("medic", "signaller", "deserter", "sapper", "war reporter", "partisan"),
    "family": ("grandmother", "foster child", "widower", "twin sister", "runaway son", "farmer"),
}

SETTINGS = (
    "lighthouse", "monastery", "salt mine", "opera house", "orbital station", "fishing village", "desert caravan",
    "glacier", "tram depot", "orchard", "sunken city", "night market", "observatory", "marshland", "paper mill",
    "border town", "vineyard", "ice harbour", "botanical garden", "railway hotel", "coral reef", "university library",
    "volcano island", "circus camp", "canal quarter", "pine forest", "copper foundry", "mountain pass",
    "tea plantation", "abandoned theatre", "river delta", "clock tower", "wheat prairie", "underground archive",
    "spice bazaar", "whaling station", "cathedral square", "airship dock", "sanatorium", "quarry",
)  # fmt: skip

MOTIFS = (
    "a forged will", "lost memory", "buried letters", "a broken oath", "rival siblings", "a secret recipe",
    "a stolen relic", "a vanished ship", "first contact", "a slow poison", "mistaken identity", "a masked ball",
    "a forbidden garden", "an old debt", "a ghostly signal", "an unfinished symphony", "a double agent", "a long siege",
    "a talking portrait", "a plague year", "time loops", "an arranged marriage", "a locked room", "a chess match",
    "a hidden staircase", "an unlikely friendship", "a missing child", "a river journey", "a rigged election",
    "a cursed coin", "an eclipse", "a mutiny", "a family feud", "a golden compass", "dream messages", "a last harvest",
    "a trial by fire", "a mirror world", "a drowned bell", "a winter famine", "machine minds", "a code in a hymn",
    "a wolf pack", "an heirloom violin", "a false prophet", "a great flood", "a smuggled manuscript", "a duel at dawn",
)  # fmt: skip

MOODS = ("wistful", "playful", "tense", "bleak", "warm", "ironic")

ADJECTIVES = (
    "Amber", "Silent", "Crooked", "Distant", "Hollow", "Scarlet", "Patient", "Frozen", "Gilded", "Restless", "Hidden",
    "Seventh", "Burning", "Quiet", "Broken", "Velvet", "Northern", "Faithless", "Paper", "Iron", "Midnight", "Salted",
    "Borrowed", "Wandering", "Pale", "Unwritten", "Bitter", "Copper", "Drowned", "Winter", "Last", "Glass",
)  # fmt: skip

NOUNS = (
    "Ledger", "Harbour", "Oath", "Orchard", "Compass", "Lantern", "Inheritance", "Winter", "Crossing", "Verdict",
    "Garden", "Signal", "Archive", "Daughter", "Tide", "Bell", "Road", "Cipher", "Kingdom", "Promise", "Machine",
    "Season", "Mirror", "Passage", "Feast", "Exile", "Song", "Alibi", "Horizon", "Keeper", "Atlas", "Bargain",
)  # fmt: skip

FIRST_NAMES = ("Ada", "Bruno", "Clara", "Dario", "Edda", "Felix", "Greta", "Hugo", "Irma", "Jonas", "Kaia", "Leon")
LAST_NAMES = ("Abend", "Brandt", "Corvin", "Dahl", "Ekholm", "Farrow", "Grau", "Holm", "Ivers", "Jansen", "Kestrel")

DESCRIPTIONS = (
    "In a {setting}, a {hero} stumbles over {motif}; a {mood} {genre} story that also turns on {motif2}.",
    "A {mood} {genre} tale: {motif} draws a {hero} back to the {setting}, where {motif2} waits.",
    "The {hero} of the {setting} has one season to settle {motif}. {Mood} and {genre} to the core, with {motif2}.",
    "What begins with {motif} in the {setting} ends in {motif2}; a {hero} must choose. A {mood} piece of {genre}.",
    "{Mood} {genre} about a {hero}, a {setting} and {motif}, told in chapters around {motif2}.",
    "Nobody at the {setting} speaks of {motif} until a {hero} arrives. A {mood} {genre} novel of {motif2}.",
)

PARTS = ("", "II", "III", "IV", "V", "VI")
