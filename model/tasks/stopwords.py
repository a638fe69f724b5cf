"""English function words: what the last word of a passage may not be.

Closed classes (articles, pronouns, prepositions, conjunctions, auxiliaries), and the verbs and
adverbs that serve as such. The GPT-2 paper filters by stop words and does not say which; this list
is ours, and its digest stands in each protocol that uses it.
"""

_WORDS = """
a about above after again against all almost alone along already also although always am among
an and another any anybody anyone anything are around as at away back be became because become
been before behind being below beneath beside between beyond both but by came can cannot could
did do does doing done down during each either else enough even ever every everybody everyone
everything few for from further get gets getting give given go goes going gone got had has have
having he her here hers herself him himself his how however i if in indeed instead into is it
its itself just least less like made make many may maybe me might mine more most much must my
myself near neither never nobody none nor not nothing now of off often on once one only onto or
other others otherwise our ours ourselves out over own per perhaps quite rather really same
shall she should since so some somebody someone something sometimes somewhere still such than
that the their theirs them themselves then there therefore these they thing things this those
though through thus to together too toward towards under unless until up upon us used very was
we well went were what whatever when where whether which while who whoever whole whom whose why
will with within without would yes yet you your yours yourself yourselves
"""

STOPWORDS = frozenset(_WORDS.split())
