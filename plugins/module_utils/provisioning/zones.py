# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The time zones and keymaps that the installers offer; they are the same in all of them.

The installers take any other text as well, and make a link or a setting of it that leads nowhere.
"""

from __future__ import annotations

_AREAS = {
    "Africa": (
        "Abidjan Accra Addis_Ababa Algiers Asmara Bamako Bangui Banjul Bissau Blantyre Brazzaville Bujumbura Cairo "
        "Casablanca Ceuta Conakry Dakar Dar_es_Salaam Djibouti Douala El_Aaiun Freetown Gaborone Harare Johannesburg "
        "Juba Kampala Khartoum Kigali Kinshasa Lagos Libreville Lome Luanda Lubumbashi Lusaka Malabo Maputo Maseru "
        "Mbabane Mogadishu Monrovia Nairobi Ndjamena Niamey Nouakchott Ouagadougou Porto-Novo Sao_Tome Tripoli Tunis "
        "Windhoek"
    ),
    "America": (
        "Adak Anchorage Anguilla Antigua Araguaina Argentina/Buenos_Aires Argentina/Catamarca Argentina/Cordoba "
        "Argentina/Jujuy Argentina/La_Rioja Argentina/Mendoza Argentina/Rio_Gallegos Argentina/Salta "
        "Argentina/San_Juan Argentina/San_Luis Argentina/Tucuman Argentina/Ushuaia Aruba Asuncion Atikokan Bahia "
        "Bahia_Banderas Barbados Belem Belize Blanc-Sablon Boa_Vista Bogota Boise Cambridge_Bay Campo_Grande Cancun "
        "Caracas Cayenne Cayman Chicago Chihuahua Costa_Rica Creston Cuiaba Curacao Danmarkshavn Dawson Dawson_Creek "
        "Denver Detroit Dominica Edmonton Eirunepe El_Salvador Fortaleza Glace_Bay Godthab Goose_Bay Grand_Turk "
        "Grenada Guadeloupe Guatemala Guayaquil Guyana Halifax Havana Hermosillo Indiana/Indianapolis Indiana/Knox "
        "Indiana/Marengo Indiana/Petersburg Indiana/Tell_City Indiana/Vevay Indiana/Vincennes Indiana/Winamac Inuvik "
        "Iqaluit Jamaica Juneau Kentucky/Louisville Kentucky/Monticello Kralendijk La_Paz Lima Los_Angeles "
        "Lower_Princes Maceio Managua Manaus Marigot Martinique Matamoros Mazatlan Menominee Merida Metlakatla "
        "Mexico_City Miquelon Moncton Monterrey Montevideo Montserrat Nassau New_York Nipigon Nome Noronha "
        "North_Dakota/Beulah North_Dakota/Center North_Dakota/New_Salem Ojinaga Panama Pangnirtung Paramaribo Phoenix "
        "Port-au-Prince Port_of_Spain Porto_Velho Puerto_Rico Rainy_River Rankin_Inlet Recife Regina Resolute "
        "Rio_Branco Santa_Isabel Santarem Santiago Santo_Domingo Sao_Paulo Scoresbysund Sitka St_Barthelemy St_Johns "
        "St_Kitts St_Lucia St_Thomas St_Vincent Swift_Current Tegucigalpa Thule Thunder_Bay Tijuana Toronto Tortola "
        "Vancouver Whitehorse Winnipeg Yakutat Yellowknife"
    ),
    "Antarctica": "Casey Davis DumontDUrville Macquarie Mawson McMurdo Palmer Rothera Syowa Troll Vostok",
    "Arctic": "Longyearbyen",
    "Asia": (
        "Aden Almaty Amman Anadyr Aqtau Aqtobe Ashgabat Baghdad Bahrain Baku Bangkok Beijing Beirut Bishkek Brunei "
        "Chita Choibalsan Colombo Damascus Dhaka Dili Dubai Dushanbe Gaza Hebron Ho_Chi_Minh Hong_Kong Hovd Irkutsk "
        "Jakarta Jayapura Jerusalem Kabul Kamchatka Karachi Kathmandu Khandyga Kolkata Krasnoyarsk Kuala_Lumpur "
        "Kuching Kuwait Macau Magadan Makassar Manila Muscat Nicosia Novokuznetsk Novosibirsk Omsk Oral Phnom_Penh "
        "Pontianak Pyongyang Qatar Qyzylorda Rangoon Riyadh Sakhalin Samarkand Seoul Shanghai Singapore Srednekolymsk "
        "Taipei Tashkent Tbilisi Tehran Thimphu Tokyo Ulaanbaatar Urumqi Ust-Nera Vientiane Vladivostok Yakutsk "
        "Yekaterinburg Yerevan"
    ),
    "Atlantic": "Azores Bermuda Canary Cape_Verde Faroe Madeira Reykjavik South_Georgia St_Helena Stanley",
    "Australia": "Adelaide Brisbane Broken_Hill Currie Darwin Eucla Hobart Lindeman Lord_Howe Melbourne Perth Sydney",
    "Etc": (
        "GMT GMT+0 GMT+1 GMT+10 GMT+11 GMT+12 GMT+2 GMT+3 GMT+4 GMT+5 GMT+6 GMT+7 GMT+8 GMT+9 GMT-0 GMT-1 GMT-10 "
        "GMT-11 GMT-12 GMT-13 GMT-14 GMT-2 GMT-3 GMT-4 GMT-5 GMT-6 GMT-7 GMT-8 GMT-9 GMT0 Greenwich UCT UTC Universal "
        "Zulu"
    ),
    "Europe": (
        "Amsterdam Andorra Athens Belgrade Berlin Bratislava Brussels Bucharest Budapest Busingen Chisinau Copenhagen "
        "Dublin Gibraltar Guernsey Helsinki Isle_of_Man Istanbul Jersey Kaliningrad Kiev Lisbon Ljubljana London "
        "Luxembourg Madrid Malta Mariehamn Minsk Monaco Moscow Oslo Paris Podgorica Prague Riga Rome Samara "
        "San_Marino Sarajevo Simferopol Skopje Sofia Stockholm Tallinn Tirane Uzhgorod Vaduz Vatican Vienna Vilnius "
        "Volgograd Warsaw Zagreb Zaporozhye Zurich"
    ),
    "Indian": "Antananarivo Chagos Christmas Cocos Comoro Kerguelen Mahe Maldives Mauritius Mayotte Reunion",
    "Pacific": (
        "Apia Auckland Chatham Chuuk Easter Efate Enderbury Fakaofo Fiji Funafuti Galapagos Gambier Guadalcanal Guam "
        "Honolulu Johnston Kiritimati Kosrae Kwajalein Majuro Marquesas Midway Nauru Niue Norfolk Noumea Pago_Pago "
        "Palau Pitcairn Pohnpei Port_Moresby Rarotonga Saipan Tahiti Tarawa Tongatapu Wake Wallis"
    ),
    "US": (
        "Alaska Aleutian Arizona Central East-Indiana Eastern Hawaii Indiana-Starke Michigan Mountain Pacific "
        "Pacific-New Samoa"
    ),
}
_KEYMAPS = (
    "ANSI-dvorak azerty be-latin1 bg-cp1251 bg-cp855 bg_bds-cp1251 bg_bds-utf8 bg_pho-cp1251 bg_pho-utf8 br-abnt "
    "br-abnt2 br-latin1-abnt2 br-latin1-us by cf croat cz cz-cp1250 cz-lat2 cz-lat2-prog cz-us-qwertz de de-latin1 "
    "de-latin1-nodeadkeys de_CH-latin1 defkeymap defkeymap_V1.0 dk dk-latin1 dvorak dvorak-l dvorak-r emacs emacs2 es "
    "es-cp850 et et-nodeadkeys fi fi-latin1 fi-latin9 fi-old fr fr-latin0 fr-latin1 fr-latin9 fr-old fr-pc fr_CH "
    "fr_CH-latin1 gr gr-pc hu hu101 hypermap.m4 il il-heb il-phonetic is-latin1 is-latin1-us it it-ibm it2 jp106 "
    "la-latin1 lt lt.baltic lt.l4 mk mk-cp1251 mk-utf mk0 nl nl2 no no-latin1 no-latin1.doc pc110 pl pl2 pt pt-latin1 "
    "pt-latin9 ro_win ru ru-cp1251 ru-ms ru-yawerty ru.map.utf8ru ru1 ru2 ru3 ru4 ru_win se-fi-ir209 se-fi-lat6 "
    "se-ir209 se-lat6 se-latin1 sg sg-latin1 sg-latin1-lk450 sk-prog-qwerty sk-prog-qwertz sk-qwerty sk-qwertz "
    "slovene sr-cy sv-latin1 tr_q-latin5 tralt trq ua ua-utf ua-utf-ws ua-ws uk us wangbe wangbe2"
)

TIME_ZONES = frozenset(f"{area}/{place}" for area, places in _AREAS.items() for place in places.split())
KEYMAPS = frozenset(_KEYMAPS.split())
