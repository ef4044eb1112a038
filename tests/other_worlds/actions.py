"""What the world "handheld" knows of THUMOS14's classes: the movements of each in order, and what is seen around it."""

from __future__ import annotations

MOVES = """
stand walk run sprint crouch rise jump fly fall splash spin swing_low swing_high throw_over throw_side push_hand
kick strike aim catch land hang celebrate shake
"""
MOVEMENTS = MOVES.split()
SEQUENCE = {
    "BaseballPitch": "aim:2 rise*:1 throw_over*:2 land:1",
    "BasketballDunk": "run:2 jump*:1 fly*:1 strike*:1 land:1",
    "Billiards": "crouch:1 aim:3 push_hand*:2 stand:1",
    "CleanAndJerk": "crouch:2 rise*:2 stand:1 push_hand*:2 land:1",
    "CliffDiving": "stand:1 jump*:1 fly*:2 fall*:2 splash:1",
    "Diving": "stand:1 jump*:1 spin*:2 fall:1 splash*:1",
    "CricketBowling": "run:2 sprint:1 jump:1 throw_over*:2 walk:1",
    "CricketShot": "aim:1 swing_low*:2 strike*:1 run:1",
    "FrisbeeCatch": "run:2 jump*:1 catch*:2 land:1",
    "GolfSwing": "aim:2 swing_low*:2 swing_high*:1 stand:1",
    "HammerThrow": "swing_high*:2 spin*:4 throw_side*:1 stand:1",
    "HighJump": "run:3 sprint:2 jump*:1 fly*:2 land:1",
    "JavelinThrow": "run:3 sprint:2 throw_over*:2 walk:1",
    "LongJump": "run:2 sprint:3 jump*:1 fly*:1 land*:1",
    "PoleVault": "run:2 sprint:3 hang*:1 fly*:2 fall:1",
    "Shotput": "crouch:1 spin:1 push_hand*:2 stand:1",
    "SoccerPenalty": "run:2 kick*:2 celebrate:1",
    "TennisSwing": "run:1 swing_high*:2 strike*:1",
    "ThrowDiscus": "aim:1 spin*:2 throw_side*:2 stand:1",
    "VolleyballSpiking": "run:1 jump*:1 strike*:1 land:1",
}
"the movements of a class in order, with their relative duration; * marks where its style shows most"
NOUNS = """
track stadium crowd field pool cliff sea board diver mat bar pole sandpit cage sector ring javelin shot discus hammer
hoop court net volleyball tennisracket tenniscourt table cue balls barbell platform gym pitch bat stumps golfclub
green trees disc goal football glove mound uniform face sky bench scoreboard dog
"""
OBJECTS = NOUNS.split()
SURROUNDINGS = {
    "BaseballPitch": ("glove mound uniform", "field crowd"),
    "BasketballDunk": ("hoop uniform", "court crowd"),
    "Billiards": ("cue balls table", "table"),
    "CleanAndJerk": ("barbell", "platform gym"),
    "CliffDiving": ("diver cliff", "cliff sea sky"),
    "Diving": ("diver board", "pool crowd"),
    "CricketBowling": ("stumps uniform", "pitch field"),
    "CricketShot": ("bat stumps", "pitch field"),
    "FrisbeeCatch": ("disc dog", "field trees"),
    "GolfSwing": ("golfclub", "green trees"),
    "HammerThrow": ("hammer cage", "sector stadium"),
    "HighJump": ("bar mat", "track stadium"),
    "JavelinThrow": ("javelin", "sector track stadium"),
    "LongJump": ("sandpit", "track stadium crowd"),
    "PoleVault": ("pole bar mat", "track stadium"),
    "Shotput": ("shot ring", "sector stadium"),
    "SoccerPenalty": ("football goal", "field crowd"),
    "TennisSwing": ("tennisracket", "tenniscourt"),
    "ThrowDiscus": ("discus cage ring", "sector stadium"),
    "VolleyballSpiking": ("volleyball net uniform", "court crowd"),
}
"things that are seen around an action of a class, and its place, which is seen nearly always"
ANYWHERE = ("crowd", "face", "sky", "bench", "scoreboard", "uniform", "trees")
IDLE = {
    "stand": (0.35, 7),
    "walk": (0.55, 7),
    "run": (0.3, 22),
    "crouch": (0.25, 22),
    "catch": (0.25, 22),
    "throw_side": (0.25, 22),
}
"movements at any other time: strength, and seconds of pause on average"
