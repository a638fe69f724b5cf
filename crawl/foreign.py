"""Short articles in languages other than English, written for this project."""

from typing import NamedTuple


class Foreign(NamedTuple):
    """One article; `language` is its ISO 639-1 code, blank lines separate the paragraphs."""

    language: str
    title: str
    text: str


ARTICLES = (
    Foreign(
        "de",
        "Warum gute Handbücher selten sind",
        """\
Wer ein Programm schreibt, kennt es in- und auswendig, und gerade deshalb fällt es ihm schwer,
es zu erklären. Was ihm selbstverständlich erscheint, ist für andere ein Rätsel; was ihn gestern
drei Stunden gekostet hat, erwähnt er vielleicht mit einem halben Satz. Ein gutes Handbuch
entsteht daher meist erst im Gespräch mit Menschen, die das Werkzeug zum ersten Mal in die Hand
nehmen.

Es lohnt sich, zwischen drei Arten von Texten zu unterscheiden. Die Einführung nimmt den Leser
an die Hand und führt ihn zu einem ersten kleinen Erfolg. Die Anleitung beantwortet eine
einzelne Frage und lässt alles andere weg. Das Nachschlagewerk schließlich ist vollständig,
trocken und geordnet, und niemand liest es von vorne bis hinten. Wer diese drei Formen
vermischt, verärgert alle Leser zugleich.

Auch die Sprache spielt eine Rolle. Kurze Sätze helfen, aber nicht jeder kurze Satz ist klar.
Entscheidend ist, dass jeder Begriff genau eine Bedeutung hat und im ganzen Text gleich heißt.
Beispiele sollten so klein sein, dass man sie abtippen kann, und doch so echt, dass man ihren
Nutzen erkennt. Und wenn sich das Programm ändert, muss sich der Text am selben Tag mit ihm
ändern, sonst verliert er das Vertrauen der Leser.
""",
    ),
    Foreign(
        "fr",
        "Le petit jardin des archives",
        """\
Derrière la bibliothèque municipale, au fond d'une cour que personne ne traverse, se trouve une
salle étroite où l'on conserve les registres de la ville. Les plus anciens datent du dix-
septième siècle et racontent, ligne après ligne, les naissances, les mariages et les disputes de
voisinage. Pendant longtemps, ces volumes n'ont intéressé que quelques généalogistes patients,
munis de gants et d'une loupe.

Depuis quelques années, une équipe de bénévoles photographie chaque page et recopie ce qu'elle
peut lire. Le travail est lent, car l'encre a pâli et l'orthographe change d'une main à l'autre.
Pourtant, peu à peu, une carte se dessine : on voit quelles familles vivaient dans quelle rue,
quels métiers disparaissaient, et comment un hiver trop rude pouvait vider un quartier entier en
quelques semaines.

La responsable du projet aime dire que les archives ressemblent à un jardin. Il faut y passer
souvent, arracher les erreurs comme de mauvaises herbes, et accepter que certaines graines ne
poussent jamais. Mais quand un visiteur retrouve soudain le nom d'une arrière-grand-mère dont il
ne savait rien, toute la salle se tait, et l'on comprend pourquoi il fallait garder ces vieux
cahiers.
""",
    ),
    Foreign(
        "es",
        "El mercado de los jueves",
        """\
Cada jueves, antes de que salga el sol, la plaza mayor del pueblo se llena de furgonetas. Los
vendedores descargan cajas de tomates, quesos envueltos en tela y montones de ropa de segunda
mano. A las ocho en punto suena la campana de la iglesia y empieza el mercado, que desde hace
más de doscientos años reúne a los habitantes de toda la comarca.

Para muchos, comprar es casi una excusa. Las conversaciones pasan de la lluvia que no llega al
precio del aceite, y de ahí a los nietos que estudian en la ciudad. El panadero conoce el nombre
de todos sus clientes y sabe quién prefiere la corteza bien tostada. La mujer que vende flores
guarda siempre un ramo para el maestro jubilado, que cada semana promete pagarle la siguiente.

Hace poco el ayuntamiento propuso trasladar los puestos a las afueras, donde hay más sitio para
aparcar. La reunión duró hasta la medianoche y nadie habló de coches. Se habló de la sombra de
los árboles, del eco de las voces bajo los soportales y de lo que queda de un pueblo cuando su
plaza está vacía. Al final, la propuesta se retiró, y el jueves siguiente hubo más gente que
nunca.
""",
    ),
    Foreign(
        "it",
        "La bottega del liutaio",
        """\
In una via stretta vicino al fiume lavora da quarant'anni un liutaio che tutti chiamano
semplicemente maestro. La sua bottega profuma di legno, di colla e di caffè. Alle pareti sono
appesi violini senza corde, forme di acero e disegni ingialliti, e sul banco c'è sempre uno
strumento aperto, come un paziente che aspetta con fiducia.

Costruire un violino richiede circa tre mesi, ma scegliere il legno può richiedere anni. Il
maestro batte le tavole con le nocche e ascolta; alcune le rimette subito al loro posto, altre
le tiene in mano a lungo, quasi volesse pesarne il silenzio. Dice che ogni albero ricorda gli
inverni che ha attraversato e che il suono nasce da quella memoria, non soltanto dalla mano di
chi lo lavora.

I giovani che vengono a imparare restano spesso delusi nelle prime settimane, perché devono
soltanto affilare gli attrezzi e spazzare il pavimento. Chi ha pazienza scopre però che anche
questo è parte del mestiere. Una lama ben affilata, spiega il maestro, rispetta il legno, e chi
non sa rispettare il legno non saprà mai farlo cantare.
""",
    ),
    Foreign(
        "pt",
        "Cartas que chegam tarde",
        """\
O carteiro da aldeia começou a trabalhar quando ainda não havia telefone em todas as casas.
Lembra-se bem das manhãs em que as pessoas o esperavam à porta, com o avental posto e as mãos na
cintura, à procura de notícias dos filhos que tinham partido para França ou para o Brasil.
Muitas vezes era ele quem lia as cartas em voz alta, porque nem todos tinham aprendido a ler.

Hoje quase ninguém escreve. Na mala viajam contas, publicidade e, de vez em quando, um postal de
férias. Mesmo assim, o carteiro continua a parar em cada portão. Pergunta pela saúde da vizinha,
leva um recado ao café e avisa o médico quando uma janela permanece fechada durante demasiado
tempo. Diz que a correspondência mudou, mas que a caminhada é a mesma.

No ano passado, durante as obras do antigo posto dos correios, encontrou-se atrás de um armário
um maço de cartas nunca entregues, algumas com mais de cinquenta anos. Ele passou semanas a
procurar os destinatários ou os seus netos. Entregou quase todas. A última, sem morada completa,
guarda-a no bolso do casaco, porque acredita que ainda vai descobrir a quem pertence.
""",
    ),
    Foreign(
        "nl",
        "De brug die niet wilde zakken",
        """\
In het midden van de stad ligt een kleine ophaalbrug die elke zomer minstens één keer weigert te
zakken. Fietsers stappen af, automobilisten zuchten, en op het terras aan de overkant bestelt
men nog een kop koffie. De brugwachter loopt dan met een hamer en een lange ijzeren stang naar
beneden, en niemand weet precies wat hij daar doet.

Volgens de gemeente komt het door de warmte. Het staal zet uit, de spleet tussen brug en kade
wordt te klein, en een paar millimeter zijn genoeg om het verkeer een uur lang stil te leggen.
Daarom spuit men tegenwoordig op hete dagen water over het dek. Dat helpt meestal, maar niet
altijd, en de brugwachter gelooft er eerlijk gezegd niet in.

Hij vertelt liever dat de brug een eigen wil heeft. Zijn vader was ook brugwachter en kende het
geluid van elk tandwiel. Wie goed luistert, zegt hij, hoort een dag van tevoren of de brug moe
is. Er zijn plannen voor een nieuwe, geheel automatische brug, maar de buurt heeft al duizend
handtekeningen verzameld om de oude te behouden.
""",
    ),
    Foreign(
        "ru",
        "Старый маяк на северном берегу",
        """\
На северном берегу залива, там, где кончается дорога и начинаются камни, стоит старый маяк. Его
построили больше ста лет назад, когда рыбацкие лодки выходили в море под парусом и возвращались
только по звёздам. Теперь у каждого капитана есть прибор, который показывает путь, но маяк по-
прежнему зажигают каждый вечер.

Смотритель живёт рядом, в низком доме с толстыми стенами. Зимой снег закрывает окна до половины,
и тогда он читает книги, чинит сети и записывает погоду в большую тетрадь. Такие тетради вели и
его отец, и его дед. Недавно приехали учёные из города, сфотографировали все страницы и сказали,
что в них есть сведения, которых нет больше нигде.

Летом сюда приходят туристы. Они поднимаются по узкой лестнице, считают ступени и долго смотрят
на воду. Смотритель охотно рассказывает им о бурях, о заблудившихся кораблях и о том, как
однажды всю ночь пришлось вращать лампу вручную. На вопрос, не скучно ли ему здесь, он только
улыбается и показывает на горизонт, который каждый день бывает другим.
""",
    ),
)
