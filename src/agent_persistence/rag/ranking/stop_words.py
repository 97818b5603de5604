"""Words that a question is made with and that say nothing of what it asks for, by language, folded."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_ENGLISH: Final = """
    a about after again ago all also am an and any anyone anything are aren as at be because been before being between
    both but by can cannot could couldn d did didn do does doesn doing don done down during each either else ever every
    few for from had hadn has hasn have haven having he her here hers herself him himself his how i if in into is isn it
    its itself just let ll m many may me might more most much must my myself no nor not now of off on once one only or
    other our ours out over own please re s same shall she should shouldn since so some someone something such t tell
    than that the their theirs them themselves then there these they this those though through to too under until up
    upon us ve very was wasn we were weren what when where whether which while who whom whose why will with within
    without won would wouldn yes yet you your yours yourself
"""
_GERMAN: Final = """
    aber alle allem allen aller alles als also am an auch auf aus bei beim bin bis bist da dafur damit dann das dass dem
    den denn der des dessen die dies diese diesem diesen dieser dieses doch dort du durch ein eine einem einen einer
    eines er es etwas euch euer fur gab gegen gibt habe haben hast hat hatte hatten hier hinter ich ihm ihn ihnen ihr
    ihre ihrem ihren ihrer im in ins ist ja jede jedem jeden jeder jedes jetzt kann kein keine keinen konnen konnte man
    mehr mein meine mich mir mit muss mussen nach nein nicht nichts noch nun nur ob oder ohne sehr seid sein seine
    seinem seinen seiner seit sich sie sind so soll sollen sollte uber um und uns unser unsere unter viel vom von vor
    wann war waren warum was weil welche welchem welchen welcher welches wem wen wenn wer werde werden wessen wie wieso
    will wir wird wo woher wohin wollen wollte worden wozu wurde wurden zu zum zur zwischen
"""
_SPANISH: Final = """
    a acerca al algo algun alguna algunas alguno algunos ante antes aquel aquella asi aun aunque cada como con contra
    cual cuales cualquier cuando cuanta cuantas cuanto cuantos de del desde donde dos durante e el ella ellas ellos en
    entre era eran eres es esa esas ese eso esos esta estaba estaban estan estar estas este esto estos fue fueron ha han
    hasta hay he hemos la las le les lo los mas me mi mis mucho muy nada ni no nos nosotros nuestra nuestro o os otra
    otro para pero por porque pues que quien quienes se sea ser si sido sin sobre son su sus tambien tan te tengo ti
    tiene tienen todo todos tu tus un una unas uno unos usted ustedes va van y ya yo
"""
_FRENCH: Final = """
    a ai alors apres as au aucun aussi autre aux avait avant avec avez avoir avons c ce cela ces cet cette ceux chaque
    chez comme comment d dans de des deux donc dont du elle elles en encore entre es est et etaient etait ete etes etre
    eu fait faut il ils j je l la le les leur leurs lui m ma mais me meme mes moi mon n ne ni nos notre nous on ont ou
    par parce pas pendant peu peut plus pour pourquoi qu quand que quel quelle quelles quels qui quoi s sa sans se ses
    si son sont sous sur t ta te tes toi ton tous tout toute toutes tres tu un une vers vos votre vous y
"""
_ITALIAN: Final = """
    a ad agli ai al alla alle allo anche ancora avere aveva c che chi ci cio col come con cosa cui d da dagli dai dal
    dalla dalle dallo degli dei del della delle dello di dopo dove e ed era erano essere fa fra gli ha hai hanno ho i il
    in io l la le lei li lo loro lui ma mai mi mia mie miei mio molto ne negli nei nel nella nelle nello no noi non
    nostra nostro o ogni per perche piu poi quale quali quando quanta quante quanti quanto quella quelle quelli quello
    questa queste questi questo qui se sei senza si sia sono sta stata stati stato su sua sue sugli sui sul sulla sulle
    suo suoi tra tu tua tuo tutti tutto un una uno vi voi
"""
_PORTUGUESE: Final = """
    a ao aos aquela aquele aquilo as ate cada com como da das de dela dele deles depois do dos e ela elas ele eles em
    entre era eram essa esse esta estao estar estava este eu foi foram ha isso isto ja la lhe lhes mais mas me mesmo
    meu minha muito na nao nas nem no nos nossa nosso num numa o os ou para pela pelas pelo pelos por porque qual quais
    quando quanta quantas quanto quantos que quem se seja sem ser seu seus so sobre sua suas tambem te tem teve tinha tu
    um uma umas uns voce voces
"""
_DUTCH: Final = """
    aan al alle als altijd ben bij daar dan dat de deze die dit doen door dus een en er ge geen geweest haar had heb
    hebben heeft hem het hier hij hoe hun ik in is ja je jij jou jouw kan kon kunnen maar me meer men met mij mijn moet
    na naar niet niets nog nu of om omdat onder ons ook op over reeds te tegen toch toen tot u uit uw van veel voor waar
    waarom wanneer waren was wat we wel welk welke werd wezen wie wij wil worden wordt zal ze zei zelf zich zij zijn zo
    zonder zou
"""
_ARABIC: Final = """
    \u0641\u064a \u0645\u0646 \u0639\u0644\u064a \u0627\u0644\u064a \u0639\u0646 \u0645\u0627 \u0645\u0627\u0630\u0627
    \u0645\u062a\u064a \u0627\u064a\u0646 \u0643\u064a\u0641 \u0643\u0645 \u0644\u0645\u0627\u0630\u0627 \u0647\u0644
    \u0647\u0648 \u0647\u064a \u0647\u0630\u0627 \u0647\u0630\u0647 \u0630\u0644\u0643 \u0627\u0644\u062a\u064a
    \u0627\u0644\u0630\u064a \u0645\u0639 \u0644\u0627 \u0644\u0645 \u0644\u0646 \u0642\u062f \u0643\u0627\u0646
    \u0643\u0627\u0646\u062a \u0627\u0646 \u0627\u0648 \u062b\u0645 \u0628\u064a\u0646 \u0628\u0639\u062f
    \u0642\u0628\u0644 \u0639\u0646\u062f \u0627\u064a
"""

STOP_WORDS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        language: frozenset(words.split())
        for language, words in {
            "en": _ENGLISH,
            "de": _GERMAN,
            "es": _SPANISH,
            "fr": _FRENCH,
            "it": _ITALIAN,
            "pt": _PORTUGUESE,
            "nl": _DUTCH,
            "ar": _ARABIC,
        }.items()
    }
)
